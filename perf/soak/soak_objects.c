/*
 * soak_objects: how large each object is, where it stands, and every byte that it has in any version.
 *
 * Sizes: seven in ten below 16 KiB, one in four up to 128 KiB, one in twenty up to 1 MiB. Each prefix of paths has one host, so that it can be purged by
 * its URL. Popularity has nothing to do with an object's other properties.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "soak.h"

_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list arguments;

    fputs("soak: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

uint64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* splitmix64's finish: well mixed, and cheap enough for each word of all content. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

uint64_t dice(void)
{
    return mix(run.random += 0x9e3779b97f4a7c15ull);
}

bool chance(unsigned in)
{
    return dice() % in == 0;
}

void *make(size_t count, size_t bytes)
{
    void *made = calloc(count, bytes);

    if (!made)
        die("out of memory");
    return made;
}

void watch(int fd, void *owner, uint32_t events, int how)
{
    struct epoll_event event = { .events = events, .data.ptr = owner };

    if (epoll_ctl(run.epoll, how, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

const char *field_find(const char *head, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = head; (line = strstr(line, "\r\n"));) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

static uint32_t object_size(uint32_t object)
{
    uint64_t h = mix(object + 77u), in = mix(h);

    if (h % 20 < 14)
        return (uint32_t)(200 + in % 16000);
    if (h % 20 < 19)
        return (uint32_t)(16384 + in % (112 * 1024));
    return (uint32_t)(128 * 1024 + in % (OBJECT_BYTES_MAX - 128 * 1024));
}

/* Where an object stands in a dimension. */
uint32_t object_place(uint32_t object, enum dimension dimension)
{
    switch (dimension) {
    case URL: return object;
    case TAG: return object % TAGS;
    case PREFIX: return object / TAGS % PREFIXES;
    case HOST:
        return object / TAGS % PREFIXES % HOSTS; /* each prefix has one host: a prefix is purged with its host's name */
    default: return 0;
    }
}

uint32_t dimension_places(enum dimension dimension)
{
    switch (dimension) {
    case URL: return run.object_count;
    case TAG: return TAGS;
    case PREFIX: return PREFIXES;
    case HOST: return HOSTS;
    default: return 1;
    }
}

uint32_t greatest(uint32_t *const of[DIMENSIONS], uint32_t object)
{
    uint32_t found = 0;

    for (enum dimension d = URL; d < DIMENSIONS; d++) {
        uint32_t value = of[d][object_place(object, d)];

        found = value > found ? value : found;
    }
    return found;
}

bool object_varies(uint32_t object)
{
    return object % 17 == 2;
}

uint64_t content_seed(uint32_t object, uint32_t version, uint32_t variant)
{
    return mix(((uint64_t)object << 32) ^ ((uint64_t)version << 3) ^ variant);
}

void content_fill(uint64_t seed, uint64_t at, char *to, uint32_t bytes)
{
    while (bytes > 0) {
        uint64_t word = mix(seed + (at / 8) * 0x9e3779b97f4a7c15ull);
        uint32_t skip = (uint32_t)(at % 8), part = 8 - skip < bytes ? 8 - skip : bytes;

        memcpy(to, (char *)&word + skip, part);
        to += part;
        at += part;
        bytes -= part;
    }
}

uint32_t object_pick(void)
{
    double wanted = (double)(dice() >> 11) / 9007199254740992.0 * run.weights[run.object_count - 1];
    uint32_t low = 0, high = run.object_count - 1;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (run.weights[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)((uint64_t)low * 2654435761u %
                      run.object_count); /* popularity has nothing to do with an object's other properties */
}

void objects_make(void)
{
    uint64_t total = 0;
    double sum = 0;

    while (total < run.total_bytes)
        total += object_size(run.object_count++);
    run.sizes = make(run.object_count, sizeof *run.sizes);
    run.weights = make(run.object_count, sizeof *run.weights);
    for (uint32_t i = 0; i < run.object_count; i++) {
        run.sizes[i] = object_size(i);
        sum += 1.0 / pow(i + 1.0, run.skew);
        run.weights[i] = sum;
    }
    for (enum dimension d = URL; d < DIMENSIONS; d++) {
        run.bumps[d] = make(dimension_places(d), sizeof(uint32_t));
        run.floors[d] = make(dimension_places(d), sizeof(uint32_t));
    }
    run.bumps[ALL][0] = run.version = 1;
}
