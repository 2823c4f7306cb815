/*
 * The disk tier: what comes back from it, after an end, a kill and whatever fails. Purges: disk_purge_test.c.
 */
#include "tests/unit/engine/disk_fixture.h"

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

/* Begun; heard of, each on the thread that began it; of these, kept for a restart: on a slow machine more wait than may (DISK_PURGE_WAITERS). */
static _Atomic uint32_t purges_told[2], purges_kept;
static _Thread_local struct loop *own_loop;

static void purge_heard(void *argument, bool kept)
{
    cr_assert(argument == own_loop);
    atomic_fetch_add(&purges_told[1], 1);
    atomic_fetch_add(&purges_kept, kept);
}

static void purge_from(struct stand *stand, struct loop *loop)
{
    struct purge what = { .kind = PURGE_URL, .text = SLICE("http\na.example\n/never\n\n") };
    struct purge_count count = { 0 };
    atomic_fetch_add(&purges_told[0], 1);
    disk_purge_begin(stand->disk, &what, &count);
    disk_purge_finish(stand->disk, loop, &what, &count, purge_heard, loop);
}

/* Each waits for the disk: without a bound reads are so slow beside them that none is waited for. */
#define PURGES_BESIDE 500u

static void *write_on(void *argument)
{
    struct writer_thread *thread = argument;
    struct loop loop;
    unsigned turns = 0, purges = 0;
    own_loop = &loop;
    char why[256];
    cr_assert_eq(loop_init(&loop, 0, 256, why), ERR_OK);
    struct disk_side *side = disk_side_new(thread->stand->disk, &loop, &thread->stand->homes, 0);
    while (!atomic_load(&thread->stop) || !disk_side_quiet(side) || atomic_load(&thread->stand->disk->purges_out)) {
        if (atomic_load(&thread->stop))
            disk_side_stop(side);
        else
            disk_write_some(&thread->stand->disk->volumes[0]);
        if (++turns % 64 == 0 && purges < PURGES_BESIDE && !atomic_load(&thread->stop)) {
            purge_from(thread->stand, &loop);
            purges++;
        }
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
    atomic_store(&purges_kept, 0);
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
    for (uint32_t i = 0; i < 1500; i++) {
        admit_beside(&stand, (uint32_t)random_below(60));
        for (unsigned n = 0; n < 2; n++)
            well += load_beside(&stand, (uint32_t)random_below(60));
        if (i % 20 == 0)
            purge_beside(&stand, (uint32_t)random_below(60));
    }
    for (uint32_t i = 0; well == 0 && i < 100000; i++) { /* a disk that was slow once is not asked for a second, by the clock that turns with the loop */
        well += load_beside(&stand, i % 60);
        turn(&stand);
        usleep(100);
    }
    atomic_store(&thread.stop, true);
    disk_side_stop(stand.side);
    while (!disk_side_quiet(stand.side) || atomic_load(&stand.disk->purges_out))
        turn(&stand);
    pthread_join(id, NULL);
    cr_expect_eq(atomic_load(&purges_told[0]), atomic_load(&purges_told[1]));
    cr_expect_gt(atomic_load(&purges_kept), 0);
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
