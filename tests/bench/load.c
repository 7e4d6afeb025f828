/* A paced sender: what calls say in real time, and when it was to be read in the server's memory.
 *
 * The calls' sockets are open and through their handshakes already; driving.py hands them on, with the words that count what
 * was published. Sends go by absolute deadlines, evenly apart: `interval / calls` between any two. It spins where something is
 * awaited and sleeps where nothing is, and does nothing else on its core. Answers pings, as any client does.
 *
 * load FRAMES < SPEC, where SPEC is numbers and paths between blanks:
 *   interval_ns warm_ns window_ns patience_ns     how long one call waits between two packets; before the window; the window;
 *                                                 for the last packets to be published
 *   words_fd words_bytes step                     a file to map, and what a word grows by with a packet
 *   count path...                                 schedstat files of the server
 *   count (socket word watched)...                calls: descriptor, byte of its word, whether its latency is taken
 * Prints one JSON object. A word only grows; `base` is what it was at the start. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "packets.h"

#define LOOKS 32                /* words looked at in one go: all of a sample, a part where every call is watched */
#define SLEEP_NS 150000         /* shorter waits are spun through */
#define AHEAD_NS 80000          /* what a sleep may be late by */
#define LISTEN_EVERY_NS 1000000 /* how often pings are looked for */
#define EVENTS 256

typedef struct {
    int fd;
    const uint64_t *word;
    uint64_t base, sent, seen;
    int64_t *sent_ns; /* of a watched call: when each packet was sent */
} Call;

typedef struct {
    int64_t *values;
    uint64_t count;
} Times;

typedef struct {
    int64_t at_ns;
    uint64_t *cpu_ns, packets; /* CPU time of each of `stats` */
} Look;

static Call *calls, **watched;
static uint64_t call_count, watched_count, next_watched, awaited, step;
static int *stats, stat_count, poller;
static uint64_t window_first, window_end; /* packets of a call that are within the window */
static Times latency, lateness;
static int64_t listened_ns;
static char ended[200];

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t published(const Call *call) {
    return (__atomic_load_n(call->word, __ATOMIC_ACQUIRE) - call->base) / step;
}

static void look_at(Call *call) {
    uint64_t done = published(call);
    if (done <= call->seen) return;
    int64_t now = now_ns();
    for (; call->seen < done && call->seen < call->sent; call->seen++, awaited--)
        if (call->seen >= window_first && call->seen < window_end)
            latency.values[latency.count++] = now - call->sent_ns[call->seen];
}

static void look_around(void) {
    uint64_t looks = watched_count < LOOKS ? watched_count : LOOKS;
    for (uint64_t i = 0; i < looks; i++) {
        look_at(watched[next_watched]);
        if (++next_watched == watched_count) next_watched = 0;
    }
}

static void answer_ping(int fd, const unsigned char *payload, int bytes) {
    unsigned char pong[6 + 125] = {0x8A, 0x80 | bytes}; /* a mask of zeros */
    memcpy(pong + 6, payload, bytes);
    send(fd, pong, 6 + bytes, MSG_NOSIGNAL);
}

/* Read what a server says: pings are answered, texts passed over, anything else is an end. */
static void hear(Call *call) {
    unsigned char heard[65536];
    ssize_t bytes = recv(call->fd, heard, sizeof heard, MSG_DONTWAIT);
    if (bytes < 0 && errno == EAGAIN) return;
    ssize_t at = 0;
    while (bytes - at >= 2) {
        int opcode = heard[at] & 15, size = heard[at + 1] & 127, head = 2;
        if (size == 126) size = heard[at + 2] << 8 | heard[at + 3], head = 4;
        if (opcode == 9 && at + head + size <= bytes) answer_ping(call->fd, heard + at + head, size);
        else if (opcode != 1 && opcode != 10) break;
        at += head + size;
    }
    if (bytes > 0 && at == bytes) return;
    snprintf(ended, sizeof ended, "call %ld was ended by the server, or got half a frame", call - calls);
}

static void listen_if_due(int64_t now) {
    struct epoll_event events[EVENTS];
    if (now - listened_ns < LISTEN_EVERY_NS) return;
    listened_ns = now;
    int ready = epoll_wait(poller, events, EVENTS, 0);
    for (int i = 0; i < ready && !*ended; i++) hear(events[i].data.ptr);
}

static void wait_until(int64_t due_ns) {
    for (;;) {
        look_around();
        int64_t now = now_ns(), left = due_ns - now;
        listen_if_due(now);
        if (left <= 0) return;
        if (awaited || left < SLEEP_NS) {
            __builtin_ia32_pause();
            continue;
        }
        left -= AHEAD_NS;
        struct timespec pause = {left / 1000000000, left % 1000000000};
        nanosleep(&pause, 0);
    }
}

static uint64_t all_published(void) {
    uint64_t packets = 0;
    for (uint64_t i = 0; i < call_count; i++) packets += published(&calls[i]);
    return packets;
}

/* What the server has used and published. A thread that ends takes its share along: none does. */
static Look look(void) {
    Look found = {now_ns(), calloc(stat_count, sizeof *found.cpu_ns), 0};
    for (int i = 0; i < stat_count; i++) {
        char text[100] = "";
        if (pread(stats[i], text, sizeof text - 1, 0) > 0) found.cpu_ns[i] = strtoull(text, 0, 10);
    }
    found.packets = all_published();
    return found;
}

static void send_packet(Call *call, uint64_t number, int64_t due_ns) {
    const Packet *frame = packet_of(call - calls, number);
    int64_t now = now_ns();
    if (number >= window_first && number < window_end) lateness.values[lateness.count++] = now - due_ns;
    if (call->sent_ns) call->sent_ns[number] = now;
    ssize_t sent = send(call->fd, frame->data, frame->bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == (ssize_t)frame->bytes) {
        call->sent++;
        awaited += call->sent_ns != 0;
    } else {
        const char *why = sent >= 0 || errno == EAGAIN ? "the server reads too slowly: its socket is full" : strerror(errno);
        snprintf(ended, sizeof ended, "call %ld, packet %lu: %s", call - calls, number, why);
    }
}

static int by_size(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static void print_times(const char *name, Times *times) {
    qsort(times->values, times->count, sizeof *times->values, by_size);
    printf("\"%s\": {\"count\": %lu", name, times->count);
    static const struct { const char *name; double share; } SHARES[] = {{"p50", .5}, {"p99", .99}, {"p999", .999}, {"max", 1}};
    for (int i = 0; times->count && i < 4; i++)
        printf(", \"%s\": %ld", SHARES[i].name, times->values[(uint64_t)((times->count - 1) * SHARES[i].share)]);
    printf("}");
}

static int64_t number(void) {
    long long read;
    if (scanf("%lld", &read) == 1) return read;
    fprintf(stderr, "SPEC: a number is missing\n");
    exit(2);
}

static void read_spec(uint64_t rounds) {
    int words_fd = number();
    size_t words_bytes = number();
    char *words = mmap(0, words_bytes, PROT_READ, MAP_SHARED, words_fd, 0), path[4096];
    if (words == MAP_FAILED) {
        perror("words");
        exit(2);
    }
    step = number();
    stats = calloc(stat_count = number(), sizeof *stats);
    for (int i = 0; i < stat_count; i++)
        if (scanf("%4095s", path) != 1 || (stats[i] = open(path, O_RDONLY)) < 0) {
            perror(path);
            exit(2);
        }
    calls = calloc(call_count = number(), sizeof *calls);
    watched = calloc(call_count, sizeof *watched);
    poller = epoll_create1(0);
    for (Call *call = calls; call < calls + call_count; call++) {
        call->fd = number();
        call->word = (const uint64_t *)(words + number());
        call->base = *call->word;
        struct epoll_event readable = {.events = EPOLLIN, .data.ptr = call};
        epoll_ctl(poller, EPOLL_CTL_ADD, call->fd, &readable);
        if (!number()) continue;
        call->sent_ns = calloc(rounds, sizeof *call->sent_ns);
        watched[watched_count++] = call;
    }
    latency.values = calloc(watched_count * rounds, sizeof *latency.values);
    lateness.values = calloc(call_count * rounds, sizeof *lateness.values);
}

/* Wait until everything that was sent is published, or so long. */
static void drain(uint64_t sent, int64_t until_ns) {
    for (int64_t now = 0; now < until_ns && !*ended; wait_until(now + LISTEN_EVERY_NS)) {
        now = now_ns();
        if (!awaited && all_published() >= sent) return;
    }
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: load FRAMES < SPEC\n");
        return 2;
    }
    read_packets(arguments[1]);
    int64_t interval_ns = number(), warm_ns = number(), window_ns = number(), patience_ns = number();
    window_first = warm_ns / interval_ns;
    window_end = window_first + window_ns / interval_ns;
    read_spec(window_end);
    prctl(PR_SET_TIMERSLACK, 1);
    Look first = look(), last;
    uint64_t sent = 0;
    int64_t start_ns = now_ns() + LISTEN_EVERY_NS;
    for (uint64_t round = 0; round < window_end && !*ended; round++) {
        if (round == window_first) first = look();
        for (uint64_t i = 0; i < call_count && !*ended; i++) {
            int64_t due_ns = start_ns + round * interval_ns + i * interval_ns / call_count;
            wait_until(due_ns);
            send_packet(&calls[i], round, due_ns);
        }
    }
    last = look();
    for (uint64_t i = 0; i < call_count; i++) sent += calls[i].sent;
    drain(sent, now_ns() + patience_ns);
    printf("{\"sent\": %lu, \"published\": %lu, \"ended\": \"%s\", ", sent, all_published(), ended);
    printf("\"window\": {\"wall_ns\": %ld, \"packets\": %lu, \"cpu_ns\": [", last.at_ns - first.at_ns,
           last.packets - first.packets);
    for (int i = 0; i < stat_count; i++) printf("%s%lu", i ? ", " : "", last.cpu_ns[i] - first.cpu_ns[i]);
    printf("]}, ");
    print_times("latency_ns", &latency);
    printf(", ");
    print_times("lateness_ns", &lateness);
    printf("}\n");
}
