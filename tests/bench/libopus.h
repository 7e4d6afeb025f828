/* libopus for the programs of the bench: the one that LIBOPUS names, opened at run time. So every server decodes with the
 * same library, and no header of it has to be installed. */
#ifndef BENCH_LIBOPUS_H
#define BENCH_LIBOPUS_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*opus_decoder_create)(int32_t rate_hz, int channels, int *error);
static void (*opus_decoder_destroy)(void *decoder);
static int (*opus_decode)(void *decoder, const unsigned char *packet, int32_t bytes, int16_t *room, int frames, int fec);

static void *opus_function(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "libopus has no %s\n", name);
        exit(2);
    }
    return found;
}

static void open_libopus(void) {
    const char *path = getenv("LIBOPUS");
    void *library = dlopen(path ? path : "libopus.so.0", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "LIBOPUS: %s\n", dlerror());
        exit(2);
    }
    *(void **)&opus_decoder_create = opus_function(library, "opus_decoder_create");
    *(void **)&opus_decoder_destroy = opus_function(library, "opus_decoder_destroy");
    *(void **)&opus_decode = opus_function(library, "opus_decode");
}

static void *new_decoder(int rate_hz) {
    int error = 0;
    void *decoder = opus_decoder_create(rate_hz, 1, &error);
    if (!decoder || error) {
        fprintf(stderr, "libopus makes no decoder: %d\n", error);
        exit(2);
    }
    return decoder;
}

#endif
