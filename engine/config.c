/*
 * A configuration's memory, and what is done with a whole one: reading its file, parsing it again, giving it back.
 */
#include "engine/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/config_memory.h"
#include "engine/config_problem.h"

/* Memory ---------------------------------------------------------------------------------------------------------- */

#define CHUNK_BYTES (16u * 1024u)

struct config_chunk {
    struct config_chunk *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

static struct config_chunk *chunk_new(size_t size)
{
    struct config_chunk *chunk = FAULT("config") ? NULL : malloc(sizeof *chunk + size);
    if (chunk)
        *chunk = (struct config_chunk){ .size = size };
    return chunk;
}

/* A chunk with room; a piece larger than a chunk gets its own, behind the first, which keeps its room. */
static struct config_chunk *chunk_for(struct config_memory *memory, size_t size)
{
    struct config_chunk *first = memory->chunks;
    if (first && size <= first->size - first->used)
        return first;
    struct config_chunk *chunk = chunk_new(size_max(size, CHUNK_BYTES));
    if (!chunk)
        return NULL;
    if (first && size > CHUNK_BYTES) {
        chunk->next = first->next;
        first->next = chunk;
    } else {
        chunk->next = first;
        memory->chunks = chunk;
    }
    return chunk;
}

void *config_memory_take(struct config_memory *memory, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct config_chunk *chunk = memory->failed ? NULL : chunk_for(memory, size);
    if (!chunk) {
        memory->failed = true;
        return NULL;
    }
    char *at = chunk->bytes + chunk->used;
    chunk->used += size;
    return memset(at, 0, size);
}

struct slice config_memory_copy(struct config_memory *memory, struct slice bytes)
{
    char *at = config_memory_take(memory, bytes.length + 1);
    if (!at)
        return SLICE_NONE;
    if (bytes.length)
        memcpy(at, bytes.at, bytes.length);
    return slice_of(at, bytes.length);
}

void config_memory_release(struct config_memory *memory)
{
    while (memory->chunks) {
        struct config_chunk *chunk = memory->chunks;
        memory->chunks = chunk->next;
        free(chunk);
    }
    memory->failed = false;
}

struct config *config_new(void)
{
    struct config *config = FAULT("config") ? NULL : calloc(1, sizeof *config);
    struct config_memory *memory = config ? calloc(1, sizeof *memory) : NULL;
    if (!memory) {
        free(config);
        return NULL;
    }
    config->memory = memory;
    config->references = 1;
    return config;
}

struct config_memory *config_memory_of(struct config *config)
{
    return config->memory;
}

void config_free(struct config *config)
{
    if (!config || --config->references > 0)
        return;
    config_memory_release(config->memory);
    free(config->memory);
    free(config);
}

/* Reading --------------------------------------------------------------------------------------------------------- */

static struct config *cannot_read(const char *path, const char *why, struct config_problems *problems)
{
    struct reporter reporter = { .problems = problems };
    *problems = (struct config_problems){ 0 };
    problem_error(&reporter, (struct place){ 0 }, "cannot read '%s': %s", quoted(slice_of_text(path)).text, why);
    return NULL;
}

/* Reads to the end, or one byte more than may be: pipes have no size to ask for. Bytes read, or -1 and errno. */
static ssize_t read_all(int fd, char *at, size_t cap)
{
    size_t length = 0;
    while (length < cap) {
        ssize_t got = read(fd, at + length, cap - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    return (ssize_t)length;
}

struct config *config_read(const char *path, struct config_problems *problems)
{
    int fd = FAULT("config") ? (errno = EMFILE, -1) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cannot_read(path, strerror(errno), problems);
    size_t cap = CONFIG_BYTES_MAX + 1;
    char *bytes = FAULT("config") ? NULL : malloc(cap);
    ssize_t length = bytes ? read_all(fd, bytes, cap) : (errno = ENOMEM, -1);
    int error = errno;
    close(fd);
    struct config *config = length < 0 ? cannot_read(path, strerror(error), problems)
                                       : config_parse(slice_of(bytes, (size_t)length), path, problems);
    free(bytes);
    return config;
}

/* Again ----------------------------------------------------------------------------------------------------------- */

struct config *config_again(const struct config *config)
{
    struct config_problems *problems = calloc(1, sizeof *problems);
    char name[4096];
    snprintf(name, sizeof name, "%.*s", (int)config->file.length, config->file.at ? config->file.at : "");
    struct config *made = problems ? config_parse(config->text, name, problems) : NULL;
    free(problems);
    return made;
}
