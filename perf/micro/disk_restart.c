/*
 * A warm restart of the cache's disk tier: a million records in a store of 6 GiB, of which only headers and footers are really there; how long disk_open
 * takes until all can be found. And what a checksum costs. Makes its files in the folder that is named, /var/tmp by default.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/map.h"
#include "engine/disk.h"

#define RECORDS 1000000u
#define SIZE (6ull << 30)

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void write_at(int fd, const char *bytes, size_t length, uint64_t at)
{
    if (pwrite(fd, bytes, length, (off_t)at) != (ssize_t)length) {
        perror("pwrite");
        exit(1);
    }
}

/* Sealed segments of so many records each, whose content is whatever was there. */
static void pretend(struct disk *disk, uint32_t per_segment)
{
    uint32_t footer = segment_footer_bytes(per_segment), made = 0;
    char *entries = malloc((size_t)per_segment * FOOTER_ENTRY_BYTES), *bytes = disk_block_memory(footer),
         *block = disk_block_memory(SEGMENT_BLOCK);
    for (uint32_t v = 0; v < disk->volume_count; v++)
        for (uint32_t s = 0; s < disk->volumes[v].volume->segment_count; s++) {
            struct segment_id id = volume_segment_id(disk->volumes[v].volume, s);
            id.sequence = s + 1;
            for (uint32_t i = 0; i < per_segment; i++, made++)
                segment_write_entry(&(struct segment_entry){ .hash = mix64(made),
                                                             .at = SEGMENT_BLOCK + i * 512,
                                                             .bytes = 512,
                                                             .tags = (uint32_t)mix64(made) },
                                    entries + (size_t)i * FOOTER_ENTRY_BYTES);
            segment_write_header(&id, block);
            segment_write_footer(&id, entries, per_segment, segment_footer_sum(&id, entries, per_segment), 0, footer,
                                 bytes);
            write_at(disk->volumes[v].fd, block, SEGMENT_BLOCK, id.base);
            write_at(disk->volumes[v].fd, bytes, footer, id.base + disk->segment_bytes - footer);
        }
    free(entries);
    free(bytes);
    free(block);
}

static void time_sums(void)
{
    static char bytes[CHUNK_BYTES];
    uint64_t sum = 0;
    double began = now_ms();
    for (unsigned i = 0; i < 4096; i++)
        sum += siphash13(bytes, sizeof bytes, i, sum);
    printf("checksums            %8.2f GB/s (%llx)\n", 4096.0 * CHUNK_BYTES / (now_ms() - began) / 1e6,
           (unsigned long long)sum);
}

int main(int count, char **words)
{
    char why[256], path[4096];
    snprintf(path, sizeof path, "%s/weir-disk-restart", count > 1 ? words[1] : "/var/tmp");
    struct disk_options options = { .path = path, .bytes = SIZE, .workers = 1 };
    struct disk *disk = disk_open(&options, why);
    if (!disk) {
        printf("not measured: %s\n", why); /* a place without so much room is no fault */
        return 0;
    }
    uint32_t segments = disk->volume_count * disk->volumes[0].volume->segment_count;
    pretend(disk, RECORDS / segments);
    uint32_t volumes = disk->volume_count;
    disk_close(disk);
    disk = disk_open(&options, why);
    if (!disk)
        return 1;
    printf("records in the index %8llu, in %u segments of %u volumes\n", (unsigned long long)disk->restored, segments,
           volumes);
    printf("restart              %8.1f ms\n", (double)disk->restore_us / 1e3);
    disk_close(disk);
    time_sums();
    for (uint32_t i = 0; i <= volumes; i++) {
        char file[4200];
        if (i < volumes)
            snprintf(file, sizeof file, "%s/weir-cache.%u", path, i);
        else
            snprintf(file, sizeof file, "%s/weir-cache", path);
        unlink(file);
    }
    rmdir(path);
    return 0;
}
