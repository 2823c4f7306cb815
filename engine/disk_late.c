/*
 * A disk that is slow, or hangs: for tests, in builds with fault points only.
 *
 * An operation begins when its time has come; until then its op is armed with a timer's descriptor instead, so that whoever looks at it finds it with the
 * kernel. What hangs cannot be cancelled either.
 */
#include "engine/disk.h"

#ifdef WEIR_FAULTS
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct late {
    struct late *next;
    struct op *op;
    void (*done)(struct op *op, int32_t result, uint32_t flags);
    struct loop *loop;
    bool write;
    int fd, timer;
    void *at;
    size_t length;
    uint64_t offset;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct late *all;
static int64_t late_ms = -1; /* these two are written before main */
static bool only_end;

__attribute__((constructor)) static void read_environment(void)
{
    const char *text = getenv("WEIR_DISK_LATE_MS");
    if (text)
        late_ms = strtoll(text, NULL, 10);
    only_end = getenv("WEIR_DISK_LATE_WHAT") != NULL;
}

static struct late *take(const struct op *op)
{
    pthread_mutex_lock(&lock);
    struct late **link = &all;
    while ((*link)->op != op)
        link = &(*link)->next;
    struct late *late = *link;
    *link = late->next;
    pthread_mutex_unlock(&lock);
    return late;
}

static void arm(struct late *late);

static void time_came(struct op *op, int32_t result, uint32_t flags)
{
    struct late *late = take(op);
    if (late_ms == 0) {
        arm(late);
        return;
    }
    op->done = late->done;
    close(late->timer);
    if (result < 0)
        op->done(op, result, flags);
    else if (late->write)
        op_write(&late->loop->ring, op, late->fd, late->at, late->length, late->offset);
    else
        op_read(&late->loop->ring, op, late->fd, late->at, late->length, late->offset);
    free(late);
}

static void arm(struct late *late)
{
    pthread_mutex_lock(&lock);
    late->next = all;
    all = late;
    pthread_mutex_unlock(&lock);
    late->op->done = time_came;
    op_poll(&late->loop->ring, late->op, late->timer, POLLIN);
}

static bool is_late(struct late what)
{
    struct itimerspec when = { .it_value = { late_ms / 1000, late_ms % 1000 * 1000000 } };
    struct late *late = late_ms < 0 || only_end ? NULL : malloc(sizeof *late);
    if (!late)
        return false;
    *late = what;
    late->done = what.op->done;
    late->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    MUST(late->timer >= 0 && timerfd_settime(late->timer, 0, &when, NULL) == 0);
    arm(late);
    return true;
}

void disk_read_at(struct loop *loop, struct op *op, int fd, void *at, size_t length, uint64_t offset)
{
    if (!is_late((struct late){ .op = op, .loop = loop, .fd = fd, .at = at, .length = length, .offset = offset }))
        op_read(&loop->ring, op, fd, at, length, offset);
}

void disk_write_at(struct loop *loop, struct op *op, int fd, const void *at, size_t length, uint64_t offset)
{
    if (!is_late((struct late){ .op = op,
                                .loop = loop,
                                .write = true,
                                .fd = fd,
                                .at = (void *)(uintptr_t)at,
                                .length = length,
                                .offset = offset }))
        op_write(&loop->ring, op, fd, at, length, offset);
}

void disk_late_block(void)
{
    while (late_ms == 0)
        pause();
    if (late_ms > 0)
        usleep((useconds_t)late_ms * 1000);
}
#endif
