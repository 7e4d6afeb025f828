/* What a server of this shape costs at the least: epoll, recv, unmask, libopus straight into the ring, one store.
 *
 * limit PORT RINGFILE CALLS KIND: see tests/bench/servers.py for what a server of the bench is given and owes. It checks no
 * request, answers no ping, keeps no timer, tells nobody, and survives nothing: a limit, not a proposal. It knows that the
 * client of the bench sends RFC 6455's sample key and frames below 64 KiB. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libopus.h"
#include "media.h"

#define ROOM_BYTES 65536
#define EVENTS 512

typedef struct {
    int fd, upgraded;
    size_t held_bytes; /* of a frame, or of the request, that has not come whole */
    unsigned char *held;
    void *decoder;
    char *slot;
    uint64_t frames;
} Call;

static const Kind *kind;
static char *slots;
static size_t slot_bytes, slots_taken, slots_in_all;
static uint64_t ring_frames;
static int poller;
/* Behind what is received: unmasking goes by whole words. */
static unsigned char room[2 * ROOM_BYTES + 8];

static const char ACCEPTED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char OPENED[] =
    "{\"version\":\"2\",\"id\":\"%.36s\",\"type\":\"opened\",\"seq\":1,\"clientseq\":1,\"parameters\":{\"startPaused\":false,"
    "\"media\":[{\"type\":\"audio\",\"format\":\"PCMU\",\"channels\":[\"external\",\"internal\"],\"rate\":8000}]}}";

static void take_slot(Call *call, const char *uuid) {
    if (slots_taken == slots_in_all) return;
    call->slot = slots + slots_taken++ * slot_bytes;
    for (int i = 0; i < 16; uuid++)
        if (*uuid != '-') {
            unsigned byte;
            sscanf(uuid++, "%2x", &byte);
            call->slot[i++] = byte;
        }
}

static void publish(Call *call, int frames) {
    call->frames += frames;
    __atomic_store_n((uint64_t *)(call->slot + 16), call->frames, __ATOMIC_RELEASE);
}

static void take_audio(Call *call, const unsigned char *payload, int bytes) {
    if (!call->slot) return;
    uint64_t at = call->frames % ring_frames, left = ring_frames - at;
    int16_t *to = (int16_t *)(call->slot + HEADER_BYTES) + at * kind->channels;
    if (kind->is_opus) {
        /* Packets of one length divide the ring, so none is cut by its end. */
        int frames = opus_decode(call->decoder, payload, bytes, to, left < 1920 ? left : 1920, 0);
        if (frames > 0) publish(call, frames);
        return;
    }
    int frames = bytes / kind->channels;
    for (int i = 0; i < bytes; i++) to[i] = PCMU[payload[i]];
    publish(call, frames);
}

static void take_text(Call *call, char *text, int bytes) {
    char end = text[bytes];
    text[bytes] = 0;
    char *id = strstr(text, "\"id\":\"");
    if (id && !call->slot) {
        unsigned char answer[4 + sizeof OPENED + 64];
        take_slot(call, id + 6);
        int size = sprintf((char *)answer + 4, OPENED, id + 6);
        answer[0] = 0x81, answer[1] = 126, answer[2] = size >> 8, answer[3] = size;
        send(call->fd, answer, size + 4, 0);
    }
    text[bytes] = end;
}

/* Take a request that came whole; return its bytes, or 0. */
static size_t take_request(Call *call, char *request, size_t bytes) {
    request[bytes] = 0;
    char *end = strstr(request, "\r\n\r\n");
    if (!end) return 0;
    if (kind->is_opus) {
        char *participant = strcasestr(request, "x-genesys-participant-id: ");
        if (participant) take_slot(call, participant + 26);
        call->decoder = new_decoder(kind->rate_hz);
    }
    send(call->fd, ACCEPTED, sizeof ACCEPTED - 1, 0);
    call->upgraded = 1;
    return end + 4 - request;
}

/* Take one frame that came whole; return its bytes, or 0. */
static size_t take_frame(Call *call, unsigned char *frame, size_t bytes) {
    if (bytes < 6) return 0;
    size_t size = frame[1] & 127, head = 6;
    if (size == 126) size = frame[2] << 8 | frame[3], head = 8;
    if (bytes < head + size) return 0;
    unsigned char *payload = frame + head;
    uint32_t mask;
    memcpy(&mask, payload - 4, 4);
    uint64_t mask8 = (uint64_t)mask << 32 | mask, word;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) memcpy(&word, payload + i, 8), word ^= mask8, memcpy(payload + i, &word, 8);
    for (; i < size; i++) payload[i] ^= mask >> 8 * (i & 3);
    int opcode = frame[0] & 15;
    if (opcode == 2) take_audio(call, payload, size);
    else if (opcode == 1) take_text(call, (char *)payload, size);
    return head + size;
}

static void end(Call *call) {
    close(call->fd);
    if (call->decoder) opus_decoder_destroy(call->decoder);
    free(call->held);
    free(call);
}

static void receive(Call *call) {
    size_t bytes = call->held_bytes, taken = 0, step;
    if (bytes) memcpy(room, call->held, bytes);
    ssize_t came = recv(call->fd, room + bytes, ROOM_BYTES, 0);
    if (came < 0 && errno == EAGAIN) return;
    if (came <= 0) {
        end(call);
        return;
    }
    bytes += came;
    if (!call->upgraded) taken = take_request(call, (char *)room, bytes);
    while (call->upgraded && (step = take_frame(call, room + taken, bytes - taken))) taken += step;
    call->held_bytes = bytes - taken;
    if (call->held_bytes) {
        call->held = realloc(call->held, ROOM_BYTES);
        memcpy(call->held, room + taken, call->held_bytes);
    }
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
        Call *call = calloc(1, sizeof *call);
        call->fd = fd;
        struct epoll_event readable = {.events = EPOLLIN, .data.ptr = call};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &readable);
    }
}

static int listen_at(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096)) {
        perror("listen");
        exit(2);
    }
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = 0};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &readable);
    return fd;
}

static void map_slots(const char *path) {
    int fd = open(path, O_RDWR);
    slot_bytes = HEADER_BYTES + (size_t)ring_frames * kind->channels * 2;
    slots = fd < 0 ? MAP_FAILED
                   : mmap(0, slots_in_all * slot_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (slots == MAP_FAILED) {
        perror(path);
        exit(2);
    }
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "usage: limit PORT RINGFILE CALLS KIND\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    slots_in_all = atoi(arguments[3]);
    kind = kind_named(arguments[4]);
    ring_frames = (uint64_t)RING_SECONDS * kind->rate_hz;
    if (kind->is_opus) open_libopus();
    make_pcmu();
    map_slots(arguments[2]);
    poller = epoll_create1(0);
    int listener = listen_at(atoi(arguments[1]));
    puts("READY");
    fflush(stdout);
    struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) receive(events[i].data.ptr);
            else accept_all(listener);
        }
    }
}
