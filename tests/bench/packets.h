/* A file of packets as driving.py writes it: each its length as a little-endian u32 and then its bytes. Every call begins
 * at another packet and goes round, so that not all of them fall silent at once. */
#ifndef BENCH_PACKETS_H
#define BENCH_PACKETS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APART 37

typedef struct {
    unsigned char *data;
    uint32_t bytes;
} Packet;

static Packet *packets;
static uint64_t packet_count;

static void read_packets(const char *path) {
    FILE *file = fopen(path, "rb");
    uint32_t bytes;
    if (!file) {
        perror(path);
        exit(2);
    }
    while (fread(&bytes, sizeof bytes, 1, file) == 1) {
        packets = realloc(packets, (packet_count + 1) * sizeof *packets);
        packets[packet_count] = (Packet){malloc(bytes), bytes};
        if (fread(packets[packet_count++].data, 1, bytes, file) != bytes) {
            fprintf(stderr, "%s is cut short\n", path);
            exit(2);
        }
    }
    fclose(file);
}

static const Packet *packet_of(uint64_t call, uint64_t number) {
    return &packets[(call * APART + number) % packet_count];
}

#endif
