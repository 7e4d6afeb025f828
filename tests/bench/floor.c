/* What nothing that decodes can be below: libopus alone (for PCMU the table alone), a decoder a call, the calls in turn.
 *
 * floor PACKETS CALLS KIND SECONDS: decodes for so long and prints the packets and the CPU time in nanoseconds. */
#define _GNU_SOURCE
#include <time.h>

#include "libopus.h"
#include "media.h"
#include "packets.h"

static int16_t room[65536];

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void decode(const Kind *kind, void *decoder, const Packet *packet) {
    if (kind->is_opus) {
        if (opus_decode(decoder, packet->data, packet->bytes, room, 1920, 0) > 0) return;
        fprintf(stderr, "libopus refuses a packet\n");
        exit(2);
    }
    for (uint32_t i = 0; i < packet->bytes; i++) room[i] = PCMU[packet->data[i]];
    /* The compiler may not drop what nobody reads. */
    __asm__ volatile("" : : "r"(room) : "memory");
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "usage: floor PACKETS CALLS KIND SECONDS\n");
        return 2;
    }
    read_packets(arguments[1]);
    uint64_t calls = atoi(arguments[2]), done = 0;
    const Kind *kind = kind_named(arguments[3]);
    void **decoders = calloc(calls, sizeof *decoders);
    make_pcmu();
    if (kind->is_opus) open_libopus();
    for (uint64_t i = 0; kind->is_opus && i < calls; i++) decoders[i] = new_decoder(kind->rate_hz);
    int64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (int64_t)(atof(arguments[4]) * 1e9);
    int64_t began_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t number = 0; clock_ns(CLOCK_MONOTONIC) < end_ns; number++)
        for (uint64_t i = 0; i < calls; i++, done++) decode(kind, decoders[i], packet_of(i, number));
    printf("%lu %ld\n", done, clock_ns(CLOCK_PROCESS_CPUTIME_ID) - began_ns);
}
