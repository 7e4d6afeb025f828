/* The kinds of audio that a server of the bench is given, and PCMU's table. The kinds are those of media.py. */
#ifndef BENCH_MEDIA_H
#define BENCH_MEDIA_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_SECONDS 2
#define HEADER_BYTES 64

typedef struct {
    const char *name;
    int rate_hz, channels, is_opus;
} Kind;

static const Kind KINDS[] = {{"opus16k", 16000, 1, 1}, {"opus8k", 8000, 1, 1}, {"pcmu", 8000, 2, 0}};

static const Kind *kind_named(const char *name) {
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (!strcmp(KINDS[i].name, name)) return &KINDS[i];
    fprintf(stderr, "no kind is called %s\n", name);
    exit(2);
}

static int16_t PCMU[256];

static void make_pcmu(void) {
    for (int byte = 0; byte < 256; byte++) {
        int code = ~byte & 0xFF, exponent = code >> 4 & 7;
        int magnitude = ((((code & 15) << 3) + 0x84) << exponent) - 0x84;
        PCMU[byte] = code & 0x80 ? -magnitude : magnitude;
    }
    PCMU[0x7F] = -1; /* as audiohook/codec/pcmu.py has it */
}

#endif
