/*
 * The disk tier on a real ring and real files. Two homes stand for the memory before and after: what is found in the second came from the disk.
 */
#include "engine/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/cache/fixture.h"

#define SIZE (24ull << 20)
#define OBJECTS 120u

struct stand {
    char path[64];
    uint64_t size;
    struct disk *disk;
    struct disk_side *side;
    struct loop loop;
    struct home home;
    struct homes homes;
    struct world world; /* of the home */
    bool looping;
};

static void new_memory(struct stand *stand)
{
    if (stand->world.cache)
        world_free(&stand->world);
    size_t bytes = 32 * MIB;
    stand->world = (struct world){ .rule = { .on = true, .object_bytes_max = UINT64_MAX } };
    if (stand->disk) {
        stand->world.seed[0] = stand->disk->seed[0];
        stand->world.seed[1] = stand->disk->seed[1];
    }
    stand->world.memory = aligned_alloc(65536, bytes);
    stand->world.cache = cache_new(stand->world.memory, bytes, stand->world.seed);
    cr_assert_not_null(stand->world.cache);
    stand->home.cache = stand->world.cache;
}

static bool stand_open(struct stand *stand)
{
    char why[256];
    stand->disk = disk_open(&(struct disk_options){ .path = stand->path, .bytes = stand->size, .workers = 1 }, why);
    new_memory(stand);
    stand->side = stand->disk ? disk_side_new(stand->disk, &stand->loop, &stand->homes, 0) : NULL;
    return stand->side != NULL;
}

static void stand_begin(struct stand *stand)
{
    char why[256];
    *stand = (struct stand){ .size = SIZE };
    snprintf(stand->path, sizeof stand->path, "/tmp/weir-disk-XXXXXX");
    cr_assert_not_null(mkdtemp(stand->path));
    pthread_mutex_init(&stand->home.lock, NULL);
    stand->homes = (struct homes){ .list = &stand->home, .count = 1 };
    cr_assert_eq(loop_init(&stand->loop, 0, 256, why), ERR_OK, "%s", why);
}

/* Without sleep: what was waited for comes before the turn's end. */
static void turn(struct stand *stand)
{
    stand->loop.again = true;
    loop_turn(&stand->loop);
}

/* seal: as an engine that ends; else as one that is killed. */
static void stand_close(struct stand *stand, bool seal)
{
    if (stand->side) {
        disk_side_stop(stand->side);
        while (!disk_side_quiet(stand->side) || atomic_load(&stand->disk->purges_out)) {
            turn(stand);
        }
        disk_side_free(stand->side);
    }
    if (stand->disk && !seal)
        atomic_store(&stand->disk->off, true);
    disk_close(stand->disk);
    stand->disk = NULL;
    stand->side = NULL;
}

static void stand_end(struct stand *stand)
{
    char path[512];
    stand_close(stand, true);
    world_free(&stand->world);
    loop_release(&stand->loop);
    DIR *folder = opendir(stand->path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", stand->path, entry->d_name);
        unlink(path);
    }
    if (folder)
        closedir(folder);
    rmdir(stand->path);
}

static const char *name_of(uint32_t number)
{
    static char path[64];
    snprintf(path, sizeof path, "/object/%u", number);
    return path;
}

static uint64_t size_of(uint32_t number)
{
    return number % 40 == 7 ? 450000 + number : number % 9 == 0 ? 0 : mix64(number) % 20000;
}

static struct object *put_in_memory(struct stand *stand, uint32_t number)
{
    return store(&stand->world, &(struct how){ .path = name_of(number),
                                               .tags = number % 2 ? "odd" : "even",
                                               .length = size_of(number),
                                               .salt = number });
}

static uint64_t settled(const struct stand *stand)
{
    uint64_t waiting = 0;
    for (uint32_t i = 0; i < stand->disk->volume_count; i++)
        waiting += stand->disk->volumes[i].queue_count + (stand->disk->volumes[i].held.object != NULL) +
                   op_armed(&stand->disk->volumes[i].op);
    return waiting == 0;
}

static void write_all(struct stand *stand)
{
    for (unsigned turns = 0; !settled(stand) && turns < 20000000; turns++) {
        for (uint32_t i = 0; i < stand->disk->volume_count; i++)
            disk_write_some(&stand->disk->volumes[i]); /* as the timer does */
        turn(stand);
    }
    cr_assert(settled(stand));
}

static void admit(struct stand *stand, uint32_t first, uint32_t behind)
{
    for (uint32_t i = first; i < behind; i++) {
        struct object *object = put_in_memory(stand, i);
        if (!object)
            continue;
        disk_admit(stand->disk, &stand->home, object);
        cache_unref(stand->world.cache, object);
        if (i % 50 == 49)
            write_all(stand);
    }
    write_all(stand);
}

/* check_content of the fixture asserts each byte, which takes its time. */
static uint64_t wrong_bytes(const struct object *object, uint64_t salt)
{
    uint64_t filled = atomic_load(&object->body->filled), at = 0, wrong = 0;
    for (const struct piece *piece = object->body->first; at < filled; piece = piece->next)
        for (uint64_t i = 0; i < piece->cap && at < filled; i++, at++)
            wrong += piece->data[i] != content_byte(salt, at);
    return wrong;
}

struct waiter {
    struct disk_wait wait;
    struct key_room room;
    bool told, found;
};

static void told(struct disk_wait *wait, bool found)
{
    struct waiter *waiter = CONTAINER_OF(wait, struct waiter, wait);
    cr_assert_not(waiter->told);
    waiter->told = true;
    waiter->found = found;
}

static bool begin_load(struct stand *stand, struct waiter *waiter, uint32_t number)
{
    *waiter = (struct waiter){ .wait = { .request = &get_request, .rule = &stand->world.rule, .done = told } };
    waiter->wait.key = key_of(&stand->world, &waiter->room, "a.example", name_of(number));
    return disk_load(stand->side, &waiter->wait);
}

/* True: it came from the disk, and every byte is right. */
static bool load(struct stand *stand, uint32_t number)
{
    struct waiter waiter;
    if (!begin_load(stand, &waiter, number))
        return false;
    while (!waiter.told)
        turn(stand);
    struct object *object = find_of(&stand->world, "a.example", name_of(number), &get_request);
    cr_assert_eq(waiter.found, object != NULL);
    if (!object)
        return false;
    cr_assert_eq(atomic_load(&object->body->filled), size_of(number));
    cr_assert_eq(wrong_bytes(object, number), 0);
    cr_assert_eq(object->tag_count, 1);
    cr_assert_eq(object->policy.lifetime_s, 60);
    cache_unref(stand->world.cache, object);
    return true;
}

static uint32_t load_all(struct stand *stand)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < OBJECTS; i++)
        count += load(stand, i);
    return count;
}

Test(disk, objects_come_back_from_it)
{
    struct stand stand;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, OBJECTS);
    struct disk_numbers numbers = disk_numbers(stand.disk);
    cr_expect_eq(numbers.objects, OBJECTS);
    cr_expect_leq(numbers.bytes_max, SIZE);
    cr_expect_eq(atomic_load(&stand.disk->counts.written), OBJECTS);
    new_memory(&stand);
    cr_expect_eq(load_all(&stand), OBJECTS);
    cr_expect_eq(atomic_load(&stand.disk->counts.loaded), OBJECTS);
    cr_expect_not(load(&stand, OBJECTS));
    stand_end(&stand);
}

Test(disk, a_restart_finds_them_after_an_end_and_after_a_kill)
{
    for (int seal = 0; seal < 2; seal++) {
        struct stand stand;
        stand_begin(&stand);
        cr_assert(stand_open(&stand));
        admit(&stand, 0, OBJECTS);
        stand_close(&stand, seal);
        for (int again = 0; again < 2; again++) {
            cr_assert(stand_open(&stand));
            cr_expect_eq(stand.disk->restored, OBJECTS);
            cr_expect_eq(load_all(&stand), OBJECTS);
            stand_close(&stand, again);
        }
        stand_end(&stand);
    }
}

Test(disk, its_files_never_grow_and_keep_their_space)
{
    struct stand stand;
    struct stat stat_before, stat_after;
    char path[128];
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    snprintf(path, sizeof path, "%s/weir-cache.0", stand.path);
    cr_assert_eq(stat(path, &stat_before), 0);
    cr_expect_geq((uint64_t)stat_before.st_blocks * 512, stand.disk->volume_bytes);
    for (uint32_t round = 0; round < 4; round++) /* more than it holds */
        admit(&stand, round * 1000, round * 1000 + 700);
    cr_assert_eq(stat(path, &stat_after), 0);
    cr_expect_eq(stat_before.st_size, stat_after.st_size);
    cr_expect_gt(stand.disk->volumes[0].volume->sequence_next, stand.disk->volumes[0].volume->segment_count);
    stand_end(&stand);
}

Test(disk, belongs_to_one_engine)
{
    struct stand stand;
    char why[256];
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    cr_expect_null(disk_open(&(struct disk_options){ .path = stand.path, .bytes = SIZE, .workers = 1 }, why));
    cr_expect(strstr(why, "another engine"), "%s", why);
    stand_end(&stand);
}

Test(disk, says_what_is_wrong_with_its_place)
{
    char why[256];
    cr_expect_null(disk_open(&(struct disk_options){ .path = "/proc/weir", .bytes = SIZE, .workers = 1 }, why));
    cr_expect(strstr(why, "/proc/weir"), "%s", why);
    cr_expect_null(
        disk_open(&(struct disk_options){ .path = "/tmp/weir-disk-small", .bytes = 1000, .workers = 1 }, why));
    cr_expect(strstr(why, "size"), "%s", why);
}

Test(disk, another_size_begins_anew)
{
    struct stand stand;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 10);
    stand_close(&stand, true);
    stand.size = SIZE * 2;
    cr_assert(stand_open(&stand));
    cr_expect_eq(stand.disk->restored, 0);
    cr_expect_not(load(&stand, 3));
    admit(&stand, 0, 10);
    new_memory(&stand);
    cr_expect(load(&stand, 3));
    stand_end(&stand);
}

static void purge_done(void *argument, bool kept)
{
    *(int *)argument = kept ? 1 : 2;
}

static int purge_disk(struct stand *stand, enum purge_kind kind, const char *text, bool soft)
{
    struct purge what = { .kind = kind, .soft = soft, .text = slice_of_text(text) };
    struct purge_count count = { 0 };
    int done = 0;
    disk_purge_begin(stand->disk, &what, &count);
    cache_purge(stand->world.cache, &what, &count);
    disk_purge_finish(stand->disk, &stand->loop, &what, &count, purge_done, &done);
    while (!done)
        turn(stand);
    return done;
}

Test(disk, purges_hold_over_a_kill)
{
    struct stand stand;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 20);
    cr_expect_eq(purge_disk(&stand, PURGE_TAG, "odd", false), 1);
    cr_expect_eq(purge_disk(&stand, PURGE_URL, "http\na.example\n/object/4\n\n", false), 1);
    cr_expect_eq(purge_disk(&stand, PURGE_URL, "http\na.example\n/object/6\n\n", true), 1);
    for (int again = 0; again < 3; again++) {
        new_memory(&stand);
        for (uint32_t i = 0; i < 20; i++)
            cr_expect_eq(load(&stand, i), i % 2 == 0 && i != 4, "object %u, time %d", i, again);
        struct object *object = find_of(&stand.world, "a.example", name_of(6), &get_request);
        cr_assert_not_null(object);
        cr_expect(atomic_load(&object->stale));
        cache_unref(stand.world.cache, object);
        stand_close(&stand, again == 1);
        cr_assert(stand_open(&stand));
    }
    stand_end(&stand);
}

/* By URL, without waiting: as requests that change something do. */
static void begin_purges(struct stand *stand, uint32_t first, uint32_t behind, void (*done)(void *argument, bool kept),
                         void *argument)
{
    char url[128];
    for (uint32_t i = first; i < behind; i++) {
        struct purge_count count = { 0 };
        snprintf(url, sizeof url, "http\na.example\n%s\n\n", name_of(i));
        struct purge what = { .kind = PURGE_URL, .text = slice_of_text(url) };
        disk_purge_begin(stand->disk, &what, &count);
        disk_purge_finish(stand->disk, &stand->loop, &what, &count, done, argument);
    }
}

static void count_kept(void *argument, bool kept)
{
    ((uint32_t *)argument)[kept]++;
}

Test(disk, purges_that_come_while_others_are_written_are_one_write)
{
    struct stand stand;
    uint32_t told[2] = { 0, 0 };
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 40);
    begin_purges(&stand, 0, 1, NULL, NULL);
    begin_purges(&stand, 10, 20, count_kept, told);
    begin_purges(&stand, 20, 30, NULL, NULL);
    cr_expect_eq(told[true], 0);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    cr_expect(told[true] == 10 && told[false] == 0);
    cr_expect_eq(atomic_load(&stand.disk->counts.purges), 21);
    cr_expect_eq(atomic_load(&stand.disk->counts.purge_writes), 2);
    cr_expect_eq(atomic_load(&stand.disk->counts.purges_widened), 0);
    stand_close(&stand, false);
    cr_assert(stand_open(&stand));
    for (uint32_t i = 0; i < 40; i++)
        cr_expect_eq(load(&stand, i), i != 0 && (i < 10 || i >= 30), "object %u", i);
    stand_end(&stand);
}

/* More than waits by name: until the restart the index knows which, then all that is older is gone, and nothing else. */
Test(disk, more_purges_than_may_wait_lose_nothing)
{
    struct stand stand;
    uint32_t many = DISK_PURGE_BYTES / PURGE_LOG_UNIT + 1000;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 20);
    begin_purges(&stand, 5000, 5000 + many, NULL, NULL);
    begin_purges(&stand, 4, 5, NULL, NULL); /* known by the entry for all only */
    cr_expect_gt(atomic_load(&stand.disk->counts.purges_widened), 900);
    admit(&stand, 20, 30); /* while they are under way; younger than the most of them */
    begin_purges(&stand, 24, 25, NULL, NULL);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    cr_expect_leq(atomic_load(&stand.disk->counts.purge_writes), 4);
    admit(&stand, 30, 40);
    begin_purges(&stand, 33, 34, NULL, NULL);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    new_memory(&stand);
    for (uint32_t i = 0; i < 40; i++)
        cr_expect_eq(load(&stand, i), i != 4 && i != 24 && i != 33, "object %u before the restart", i);
    stand_close(&stand, false);
    cr_assert(stand_open(&stand));
    for (uint32_t i = 0; i < 20; i++)
        cr_expect_not(load(&stand, i), "object %u, older than what was kept for all", i);
    cr_expect_not(load(&stand, 24));
    for (uint32_t i = 30; i < 40; i++)
        cr_expect_eq(load(&stand, i), i != 33, "object %u, younger", i);
    stand_end(&stand);
}

/* Who cannot be told later is told at once that it is not known; it is kept all the same. */
Test(disk, more_may_ask_to_be_told_than_can_be)
{
    struct stand stand;
    uint32_t told[2] = { 0, 0 };
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 10);
    begin_purges(&stand, 1000, 1001 + DISK_PURGE_WAITERS, count_kept, told);
    cr_expect_eq(told[false], 0);
    begin_purges(&stand, 3, 6, count_kept, told);
    cr_expect_eq(told[false], 3);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    cr_expect(told[true] == 1 + DISK_PURGE_WAITERS && told[false] == 3);
    stand_close(&stand, false);
    cr_assert(stand_open(&stand));
    for (uint32_t i = 3; i < 6; i++)
        cr_expect_not(load(&stand, i));
    stand_end(&stand);
}

/* Round and round the log, in batches that its end divides. */
Test(disk, purges_are_kept_where_the_log_begins_anew)
{
    struct stand stand;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    uint32_t entries = (uint32_t)(stand.disk->log.bytes / PURGE_LOG_UNIT);
    for (uint32_t done = 0; done < entries * 2; done += 700) {
        begin_purges(&stand, 1000 + done, 1000 + done + 700, NULL, NULL);
        while (atomic_load(&stand.disk->purges_out))
            turn(&stand);
    }
    cr_expect_eq(atomic_load(&stand.disk->counts.purges_widened), 0);
    admit(&stand, 0, 20);
    begin_purges(&stand, 3, 8, NULL, NULL);
    while (atomic_load(&stand.disk->purges_out))
        turn(&stand);
    stand_close(&stand, false);
    cr_assert(stand_open(&stand));
    for (uint32_t i = 0; i < 20; i++)
        cr_expect_eq(load(&stand, i), i < 3 || i >= 8, "object %u", i);
    stand_end(&stand);
}

Test(disk, a_purge_or_a_newer_response_during_a_read_wins)
{
    struct stand stand;
    struct waiter waiter;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 20);
    new_memory(&stand);
    cr_assert(begin_load(&stand, &waiter, 2));
    purge_disk(&stand, PURGE_TAG, "even", false);
    while (!waiter.told)
        turn(&stand);
    cr_expect_not(waiter.found);
    cr_assert(begin_load(&stand, &waiter, 3));
    struct object *object = put_in_memory(&stand, 3);
    disk_replaced(stand.disk, object);
    while (!waiter.told)
        turn(&stand);
    cr_expect_not(waiter.found);
    cr_expect_not(atomic_load(&object->gone));
    cache_unref(stand.world.cache, object);
    stand_end(&stand);
}

Test(disk, nobody_waits_for_one_that_is_slow)
{
    struct stand stand;
    struct waiter waiter, other;
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, 20);
    new_memory(&stand);
    cr_assert(begin_load(&stand, &waiter, 2));
    struct disk_load *one = waiter.wait.load;
    timer_cancel(&stand.loop.wheel, &one->timer);
    one->timer.fire(&one->timer, stand.loop.now_ms); /* as if the disk had not answered by then */
    cr_expect(waiter.told && !waiter.found);
    cr_expect_not(begin_load(&stand, &other, 3), "it was slow a moment ago");
    cr_expect_eq(atomic_load(&stand.disk->counts.slow), 1);
    atomic_store(&stand.disk->volumes[0].slow_until_ms, 0);
    cr_expect(load(&stand, 3));
    cr_assert(begin_load(&stand, &waiter, 5));
    disk_leave(&waiter.wait);
    cr_expect(load(&stand, 6));
    cr_expect_not(waiter.told);
    stand_end(&stand);
}

Test(disk, reads_have_a_cap)
{
    struct stand stand;
    struct waiter waiters[DISK_LOADS + 1];
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, DISK_LOADS + 1);
    new_memory(&stand);
    for (uint32_t i = 0; i < DISK_LOADS; i++)
        cr_assert(begin_load(&stand, &waiters[i], i));
    cr_expect_not(begin_load(&stand, &waiters[DISK_LOADS], DISK_LOADS));
    cr_expect_eq(atomic_load(&stand.disk->counts.busy), 1);
    for (uint32_t i = 0; i < DISK_LOADS; i++)
        while (!waiters[i].told)
            turn(&stand);
    stand_end(&stand);
}

/* What lies on the disk is changed under its feet. */
Test(disk, a_flipped_bit_is_a_miss)
{
    struct stand stand;
    char path[128], *bytes = malloc(4 << 20);
    stand_begin(&stand);
    cr_assert(stand_open(&stand));
    admit(&stand, 0, OBJECTS);
    new_memory(&stand);
    seed_take("disk, flipped");
    snprintf(path, sizeof path, "%s/weir-cache.0", stand.path);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pread(fd, bytes, 4 << 20, 0), 4 << 20);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t at = random_below(2 << 20);
        bytes[at] ^= (char)(1u << random_below(8));
        cr_assert_eq(pwrite(fd, bytes + at, 1, (off_t)at), 1);
    }
    cr_assert_eq(fsync(fd), 0);
    close(fd);
    uint32_t well = load_all(&stand);
    cr_expect(well > 0 && well < OBJECTS, "%u", well);
    cr_expect_gt(atomic_load(&stand.disk->counts.corrupt), 0);
    free(bytes);
    stand_end(&stand);
}

/* Killed in the middle of its writing, at a moment that is drawn, again and again over the same files. */
Test(disk, killed_while_it_writes_it_is_warm_and_right_again)
{
    struct stand stand;
    uint32_t well = 0;
    seed_take("disk, killed");
    stand_begin(&stand);
    for (unsigned round = 0; round < 12; round++) {
        int ready[2];
        char byte;
        cr_assert_eq(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0) {
            struct stand other;
            stand_begin(&other);
            rmdir(other.path);
            memcpy(other.path, stand.path, sizeof other.path);
            if (!stand_open(&other) || write(ready[1], "x", 1) != 1)
                _exit(1);
            for (uint32_t i = (uint32_t)random_below(400);; i = (i + 1) % 400) {
                admit(&other, i, i + 1);
                if (i % 100 == 99)
                    new_memory(&other);
            }
        }
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        usleep((useconds_t)random_below(60000));
        kill(child, SIGKILL);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        close(ready[0]);
        close(ready[1]);
        cr_assert(stand_open(&stand));
        for (uint32_t i = 0; i < 400; i++)
            well += load(&stand, i);
        cr_expect_eq(atomic_load(&stand.disk->counts.corrupt), 0, "what was found was whole");
        stand_close(&stand, round % 2);
    }
    cr_expect_gt(well, 0);
    stand_end(&stand);
}

/* Two workers: one writes the volume; the other admits, reads, replaces and purges meanwhile. For the sanitizers above all. */
struct writer_thread {
    struct stand *stand;
    _Atomic bool stop, quiet;
};

/* Begun; heard of, each on the thread that began it. */
static _Atomic uint32_t purges_told[2];
static _Thread_local struct loop *own_loop;

static void purge_heard(void *argument, bool kept)
{
    cr_assert(kept && argument == own_loop);
    atomic_fetch_add(&purges_told[1], 1);
}

static void purge_from(struct stand *stand, struct loop *loop)
{
    struct purge what = { .kind = PURGE_URL, .text = SLICE("http\na.example\n/never\n\n") };
    struct purge_count count = { 0 };
    atomic_fetch_add(&purges_told[0], 1);
    disk_purge_begin(stand->disk, &what, &count);
    disk_purge_finish(stand->disk, loop, &what, &count, purge_heard, loop);
}

static void *write_on(void *argument)
{
    struct writer_thread *thread = argument;
    struct loop loop;
    unsigned turns = 0;
    own_loop = &loop;
    char why[256];
    cr_assert_eq(loop_init(&loop, 0, 256, why), ERR_OK);
    struct disk_side *side = disk_side_new(thread->stand->disk, &loop, &thread->stand->homes, 0);
    while (!atomic_load(&thread->stop) || !disk_side_quiet(side) || atomic_load(&thread->stand->disk->purges_out)) {
        if (atomic_load(&thread->stop))
            disk_side_stop(side);
        else
            disk_write_some(&thread->stand->disk->volumes[0]);
        if (++turns % 64 == 0 && !atomic_load(&thread->stop))
            purge_from(thread->stand, &loop);
        loop.again = true;
        loop_turn(&loop);
    }
    disk_side_free(side);
    loop_release(&loop);
    return NULL;
}

static bool load_beside(struct stand *stand, uint32_t number)
{
    struct waiter waiter;
    if (!begin_load(stand, &waiter, number))
        return false;
    while (!waiter.told)
        turn(stand);
    pthread_mutex_lock(&stand->home.lock);
    struct object *object = waiter.found ? find_of(&stand->world, "a.example", name_of(number), &get_request) : NULL;
    if (object) {
        cr_assert_eq(wrong_bytes(object, number), 0);
        cache_unref(stand->world.cache, object);
    }
    pthread_mutex_unlock(&stand->home.lock);
    return object != NULL;
}

static void admit_beside(struct stand *stand, uint32_t number)
{
    pthread_mutex_lock(&stand->home.lock);
    struct object *object = put_in_memory(stand, number);
    if (object) {
        disk_replaced(stand->disk, object);
        disk_admit(stand->disk, &stand->home, object);
        cache_unref(stand->world.cache, object);
    }
    pthread_mutex_unlock(&stand->home.lock);
}

static void purge_beside(struct stand *stand, uint32_t number)
{
    char url[128];
    struct purge_count count = { 0 };
    snprintf(url, sizeof url, "http\na.example\n%s\n\n", name_of(number));
    struct purge what = { .kind = number % 3 ? PURGE_URL : PURGE_TAG,
                          .text = number % 3 ? slice_of_text(url) : SLICE("odd") };
    disk_purge_begin(stand->disk, &what, &count);
    pthread_mutex_lock(&stand->home.lock);
    cache_purge(stand->world.cache, &what, &count);
    pthread_mutex_unlock(&stand->home.lock);
    atomic_fetch_add(&purges_told[0], 1);
    disk_purge_finish(stand->disk, &stand->loop, &what, &count, purge_heard, &stand->loop);
}

Test(disk, two_workers_share_it)
{
    struct stand stand;
    char why[256];
    uint32_t well = 0;
    atomic_store(&purges_told[0], 0);
    atomic_store(&purges_told[1], 0);
    seed_take("disk, two workers");
    stand_begin(&stand);
    stand.disk = disk_open(&(struct disk_options){ .path = stand.path, .bytes = SIZE, .workers = 2 }, why);
    cr_assert(stand.disk, "%s", why);
    new_memory(&stand);
    struct writer_thread thread = { .stand = &stand };
    own_loop = &stand.loop;
    pthread_t id;
    cr_assert_eq(pthread_create(&id, NULL, write_on, &thread), 0);
    stand.side = disk_side_new(stand.disk, &stand.loop, &stand.homes, 1);
    for (uint32_t i = 0; i < 1500 || (well == 0 && i < 100000); i++) { /* what was admitted is written some milliseconds later */
        admit_beside(&stand, (uint32_t)random_below(60));
        for (unsigned n = 0; n < 2; n++)
            well += load_beside(&stand, (uint32_t)random_below(60));
        if (i % 20 == 0)
            purge_beside(&stand, (uint32_t)random_below(60));
    }
    atomic_store(&thread.stop, true);
    disk_side_stop(stand.side);
    while (!disk_side_quiet(stand.side) || atomic_load(&stand.disk->purges_out))
        turn(&stand);
    pthread_join(id, NULL);
    cr_expect_eq(atomic_load(&purges_told[0]), atomic_load(&purges_told[1]));
    disk_side_free(stand.side);
    stand.side = NULL;
    cr_expect_gt(well, 0);
    stand_end(&stand);
}

#ifdef WEIR_FAULTS
#define FEW 12u

static uint32_t load_few(struct stand *stand)
{
    uint32_t well = 0;
    for (uint32_t i = 0; i < FEW; i++)
        well += load(stand, i);
    return well;
}

/* From the start to the purge; the faults are counted behind the making of the objects. */
static void live(struct stand *stand, uint32_t nth)
{
    struct object *objects[FEW];
    bool open = stand_open(stand);
    fault_arm(0);
    for (uint32_t i = 0; open && i < FEW; i++)
        objects[i] = put_in_memory(stand, i);
    fault_arm(nth);
    for (uint32_t i = 0; open && i < FEW; i++) {
        disk_admit(stand->disk, &stand->home, objects[i]);
        cache_unref(stand->world.cache, objects[i]);
    }
    if (!open)
        return;
    write_all(stand);
    new_memory(stand);
    for (uint32_t i = 0; i < FEW; i += 3)
        load(stand, i);
    purge_disk(stand, PURGE_URL, "http\na.example\n/object/4\n\n", false);
}

/* Everything that may fail does so once: while writing and reading (EIO, ENOSPC, cut short), while purging, at the end, and at the restart. */
Test(disk, whatever_fails_is_a_miss)
{
    uint32_t last = 1, best = 0;
    for (uint32_t nth = 1; nth <= last; nth++) {
        struct stand stand;
        stand_begin(&stand);
        live(&stand, nth);
        stand_close(&stand, nth % 2);
        if (stand_open(&stand)) {
            cr_assert_not(load(&stand, 4), "purged, with fault %u", nth);
            best = (uint32_t)u64_max(best, load_few(&stand));
        }
        last = (uint32_t)u64_min(u64_max(last, fault_count()), 300);
        fault_arm(0);
        stand_end(&stand);
    }
    cr_expect_gt(last, 40);
    cr_expect_eq(best, FEW - 1);
}

/* At the first start, one after the other until nothing is left to fail. */
Test(disk, a_start_that_fails_says_so)
{
    uint64_t failed = 0;
    bool struck = true;
    for (uint64_t nth = 1; struck; nth++) {
        struct stand stand;
        stand_begin(&stand);
        char why[256] = "";
        fault_arm(nth);
        struct disk *disk = disk_open(&(struct disk_options){ .path = stand.path, .bytes = SIZE, .workers = 1 }, why);
        struck = fault_count() >= nth;
        fault_arm(0);
        failed += disk == NULL;
        cr_expect(disk || why[0]);
        disk_close(disk);
        new_memory(&stand);
        stand_end(&stand);
    }
    cr_expect_gt(failed, 8);
}
#endif
