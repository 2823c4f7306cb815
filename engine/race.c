#include "engine/race.h"

#include <errno.h>

#include "engine/conn.h"
#include "engine/socket.h"
#include "engine/worker.h"

#define CONGESTION_BYTES 16u /* TCP_CA_NAME_MAX */

struct attempt {
    struct op op;
    struct race *race;
    int fd;         /* -1: none */
    uint32_t place; /* of its address in the race's list */
};

struct race {
    void *slab_link; /* overwritten while free */
    struct conn *conn; /* NULL: over */
    struct worker *worker;
    char congestion[CONGESTION_BYTES]; /* its own copy: no exchange holds the view of a connection that is opened ahead */
    uint32_t congestion_length;
    struct attempt attempts[RACE_ATTEMPTS];
    struct timer delay;
    struct peer_address list[SERVER_ADDRESSES_MAX];
    uint8_t origins_index[SERVER_ADDRESSES_MAX]; /* as origin->best counts */
    uint32_t count, next;
    int error; /* of the last attempt that failed */
};

size_t race_bytes(void)
{
    return sizeof(struct race);
}

static struct ring *ring_of(struct race *race)
{
    return &race->worker->loop.ring;
}

static void attempt_done(struct op *op, int32_t result, uint32_t flags);
static void delay_over(struct timer *timer, uint64_t now_ms);

/* Operations keep their generations, by which completions that come late are told (op.h). */
static struct race *race_new(struct conn *conn)
{
    struct race *race = slab_take(&conn->worker->races);
    if (!race)
        return NULL;
    uint16_t generations[RACE_ATTEMPTS];
    for (uint32_t i = 0; i < RACE_ATTEMPTS; i++)
        generations[i] = race->attempts[i].op.generation;
    memset(race, 0, sizeof *race);
    race->conn = conn;
    race->worker = conn->worker;
    race->delay.fire = delay_over;
    for (uint32_t i = 0; i < RACE_ATTEMPTS; i++)
        race->attempts[i] = (struct attempt){ .op = { .done = attempt_done, .generation = generations[i] }, .race = race, .fd = -1 };
    return race;
}

static void add_address(struct race *race, const struct origin *origin, uint32_t index)
{
    struct peer_address *to = &race->list[race->count];
    race->origins_index[race->count++] = (uint8_t)index;
    if (index > 0) {
        *to = origin->more[index - 1];
        return;
    }
    memcpy(&to->socket, &origin->address.socket, sizeof to->socket); /* never unix: that has one address */
    to->socket_bytes = origin->address.socket_bytes;
}

static void take_addresses(struct race *race, const struct origin *origin)
{
    add_address(race, origin, origin->best);
    for (uint32_t i = 0; i <= origin->more_count; i++)
        if (i != origin->best)
            add_address(race, origin, i);
}

static bool under_way(const struct race *race)
{
    for (uint32_t i = 0; i < RACE_ATTEMPTS; i++)
        if (race->attempts[i].fd >= 0)
            return true;
    return false;
}

static void let_go_when_over(struct race *race)
{
    if (race->conn || under_way(race))
        return;
    timer_cancel(&race->worker->loop.wheel, &race->delay);
    slab_return(&race->worker->races, race);
}

/* Begins with the next address that a socket can be made for, if there is a place for it. */
static void begin_next(struct race *race)
{
    struct attempt *attempt = NULL;
    for (uint32_t i = 0; i < RACE_ATTEMPTS; i++)
        if (race->attempts[i].fd < 0)
            attempt = &race->attempts[i];
    while (attempt && attempt->fd < 0 && race->next < race->count) {
        const struct peer_address *peer = &race->list[race->next];
        struct address address = { .socket_bytes = peer->socket_bytes };
        memcpy(&address.socket, &peer->socket, sizeof peer->socket);
        attempt->fd = socket_for_origin(&address, slice_of(race->congestion, race->congestion_length));
        attempt->place = race->next++;
        if (attempt->fd < 0)
            race->error = errno;
        else
            op_connect(ring_of(race), &attempt->op, attempt->fd, &peer->socket.any, peer->socket_bytes);
    }
    if (race->next < race->count)
        timer_set(&race->worker->loop.wheel, &race->delay, race->worker->loop.now_ms + RACE_DELAY_MS);
}

static void delay_over(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct race *race = CONTAINER_OF(timer, struct race, delay);
    if (race->conn)
        begin_next(race);
}

/* What is still under way ends with its cancellation. */
static void end(struct race *race)
{
    race->conn->origin.race = NULL;
    race->conn = NULL;
    timer_cancel(&race->worker->loop.wheel, &race->delay);
    for (uint32_t i = 0; i < RACE_ATTEMPTS; i++)
        if (race->attempts[i].fd >= 0)
            op_cancel(ring_of(race), &race->attempts[i].op);
    let_go_when_over(race);
}

static void won(struct race *race, struct attempt *attempt)
{
    struct conn *conn = race->conn;
    struct origin *origin = conn->origin.origin;
    conn->fd = attempt->fd;
    attempt->fd = -1;
    if (origin->addresses == conn->origin.addresses)
        origin->best = race->origins_index[attempt->place];
    end(race);
    conn_connected(conn, 0);
}

static void attempt_failed(struct race *race, int error)
{
    struct conn *conn = race->conn;
    race->error = error;
    begin_next(race);
    if (under_way(race))
        return;
    error = race->error;
    end(race);
    conn_connected(conn, error);
}

static void attempt_done(struct op *op, int32_t result, uint32_t flags)
{
    (void)flags;
    struct attempt *attempt = CONTAINER_OF(op, struct attempt, op);
    struct race *race = attempt->race;
    if (race->conn && result == 0) {
        won(race, attempt);
        return;
    }
    ring_close(ring_of(race), attempt->fd);
    attempt->fd = -1;
    if (race->conn)
        attempt_failed(race, -result);
    else
        let_go_when_over(race);
}

bool race_begin(struct conn *conn, struct origin *origin, struct slice congestion)
{
    struct race *race = race_new(conn);
    if (!race) {
        errno = ENOMEM;
        return false;
    }
    race->congestion_length = (uint32_t)size_min(congestion.length, CONGESTION_BYTES);
    if (race->congestion_length)
        memcpy(race->congestion, congestion.at, race->congestion_length);
    take_addresses(race, origin);
    begin_next(race);
    if (!under_way(race)) {
        race->conn = NULL;
        let_go_when_over(race);
        errno = race->error;
        return false;
    }
    conn_connecting(conn);
    conn->origin.race = race;
    return true;
}

void race_abandon(struct race *race)
{
    end(race);
}
