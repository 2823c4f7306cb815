/* soak: what clients and origin share (soak.c says what the whole is): objects, their content and versions, and the run's counters. */
#ifndef WEIR_SOAK_H
#define WEIR_SOAK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define TAGS 64u
#define PREFIXES 32u
#define HOSTS 4u
#define VARIANTS 3u /* of the objects that have several: by Accept-Language */
#define OBJECT_BYTES_MAX (1024u * 1024u)
#define HEAD_BYTES 8192u
#define SHOWN 20u

enum kind { KIND_CLIENT, KIND_BACK, KIND_LISTENER, KIND_STDIN };
enum dimension { URL, TAG, PREFIX, HOST, ALL, DIMENSIONS };
enum fate { WELL, STATUS, CUT, RESET, STALL, FATES };

struct run {
    int epoll;
    struct sockaddr_in proxy;
    uint32_t client_count, object_count;
    uint32_t *sizes;
    double *weights; /* sums of Zipf's weights by rank */
    uint32_t version;
    uint32_t *bumps[DIMENSIONS], *floors[DIMENSIONS];
    enum fate fate;
    uint32_t fate_percent;
    uint64_t random, now_ms, calm_ms, proxy_port, origin_port, total_bytes;
    double skew;
    bool ending;
    uint64_t requests, answers, bytes, hits, partial, not_modified, left, origin_requests, origin_304, origin_failed;
    uint64_t wrong, older, errors, errors_calm, cut, cut_calm, closed, closed_calm, stuck;
    char shown[SHOWN][200];
    uint32_t shown_count;
};
extern struct run run;

_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...);
uint64_t clock_ms(void);
uint64_t dice(void);
bool chance(unsigned in);               /* one in so many */
void *make(size_t count, size_t bytes); /* zeroed */
void watch(int fd, void *owner, uint32_t events, int how);
const char *field_find(const char *head, const char *name); /* the value; NULL: none */

/* Objects (soak_objects.c): run.object_count of them, made once. */
void objects_make(void);
uint32_t object_pick(void); /* by Zipf's law */
bool object_varies(uint32_t object);
uint32_t object_place(uint32_t object, enum dimension dimension); /* where it stands there */
uint32_t dimension_places(enum dimension dimension);
uint32_t greatest(uint32_t *const of[DIMENSIONS], uint32_t object); /* bump or floor that concerns it */
uint64_t content_seed(uint32_t object, uint32_t version, uint32_t variant);
void content_fill(uint64_t seed, uint64_t at, char *to, uint32_t bytes);

/* The origin (soak_origin.c). */
struct back;
void origin_listen(void);
void origin_accept(void);
void back_event(struct back *back, uint32_t events);
void backs_go_on(void); /* what was stalled is answered, well or otherwise */

#endif
