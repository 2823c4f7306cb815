/*
 * The cache's memory and its disk, made once: with the first configuration that has a route with a cache, at the start or by a reload, before any worker sees it.
 */
#include <stdio.h>

#include "engine/disk.h"
#include "engine/homes.h"
#include "engine/process.h"
#include "engine/verifier.h"
#include "engine/report.h"

/* Where it cannot be had the engine goes on without. */
static struct disk *open_disk(struct server_process *process)
{
    char why[256], bytes[32], most[32];
    struct disk_options options = { .path = process->disk_path.at, .bytes = process->disk_bytes, .workers = process->worker_count };
    struct disk *disk = disk_open(&options, why);
    if (disk && atomic_load(&disk->off)) {
        snprintf(why, sizeof why, "it cannot be read; it will begin empty at the next start");
        disk_close(disk);
        disk = NULL;
    }
    if (!disk) {
        snprintf(process->disk_says, sizeof process->disk_says, "the cache is without its disk: %s", why);
        return NULL;
    }
    struct disk_numbers numbers = disk_numbers(disk);
    report_bytes(numbers.bytes, bytes);
    report_bytes(numbers.bytes_max, most);
    snprintf(process->disk_says, sizeof process->disk_says, "cache disk \"%.160s\": %llu objects (%s of %s) found in %llu ms%s", disk->path,
             (unsigned long long)disk->restored, bytes, most, (unsigned long long)disk->restore_us / 1000, disk->direct ? "" : ", without O_DIRECT");
    return disk;
}

void server_say_disk(struct server_process *process)
{
    if (process->disk_says[0])
        log_line(process->shared.disk ? LOG_NOTICE : LOG_ERROR, "%s", process->disk_says);
    process->disk_says[0] = 0;
}

/* What is stored has hashes that hold for one seed: so a disk comes with the homes or not at all. */
static bool same_disk(const struct server_process *process, const struct config_cache_disk *disk)
{
    return process->disk_bytes == disk->bytes && slice_equal(text_slice(&process->disk_path), disk->path);
}

static struct homes *make_homes(struct server_process *process, const struct config_cache *cache)
{
    text_release(&process->disk_path);
    text_format(&process->disk_path, "%.*s", (int)cache->disk.path.length, cache->disk.path.length ? cache->disk.path.at : "");
    process->disk_bytes = cache->disk.bytes;
    if (process->disk_path.failed)
        return NULL;
    struct disk *disk = cache->disk.path.length ? open_disk(process) : NULL;
    struct homes *homes = FAULT("homes") ? NULL : homes_new(cache->memory_bytes, process->worker_count, disk ? disk->seed : NULL);
    if (!homes) {
        disk_close(disk);
        return NULL;
    }
    if (disk)
        disk_set_memory(disk, cache->memory_bytes);
    atomic_store_explicit(&process->shared.disk, disk, memory_order_release);
    if (process->state == PROCESS_RUNNING)
        server_say_disk(process);
    return homes;
}

/*
 * Homes stay until the end, with what they hold, also while no route has a cache: a reload that brings one back finds them. Workers look for
 * them for a route with a cache only, hence not before they have its generation.
 */
bool server_prepare_homes(struct server_process *process, const struct config *config, char why[256])
{
    uint64_t bytes = config->cache.memory_bytes;
    if (bytes == 0)
        return true;
    if (process->homes_bytes) {
        bool other_memory = bytes != process->homes_bytes;
        snprintf(why, 256, "cache.%s is another than at the first route with a cache: that needs a restart", other_memory ? "memory" : "disk");
        return !other_memory && same_disk(process, &config->cache.disk);
    }
    if (bytes / CACHE_REGION_LEAST < process->worker_count) {
        snprintf(why, 256, "cache.memory is too small: %u workers want at least %u MiB", process->worker_count, process->worker_count);
        return false;
    }
    struct homes *homes = make_homes(process, &config->cache);
    if (!homes) {
        snprintf(why, 256, "no memory for a cache of %llu bytes", (unsigned long long)bytes);
        return false;
    }
    process->homes_bytes = bytes;
    atomic_store_explicit(&process->shared.homes, homes, memory_order_release);
    return true;
}

bool server_prepare_verifier(struct server_process *process, const struct config *config, char why[256])
{
    if (config->forward.users.length == 0 || process->shared.verifier)
        return true;
    struct verifier *verifier = verifier_new(why);
    atomic_store_explicit(&process->shared.verifier, verifier, memory_order_release);
    return verifier != NULL;
}
