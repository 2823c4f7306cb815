#include "engine/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/config_value.h"

/* Words -------------------------------------------------------------------------------------------------------- */

struct line {
    struct slice rest;
    uint32_t number;
};

static struct slice next_word(struct slice *rest)
{
    const char *space = rest->length ? memchr(rest->at, ' ', rest->length) : NULL;
    struct slice word = slice_of(rest->at, space ? (size_t)(space - rest->at) : rest->length);
    size_t used = word.length + (space != NULL);
    *rest = slice_of(rest->at + used, rest->length - used);
    return word;
}

/* "name=12". False: another word, or no number up to most. */
static bool read_number(struct slice word, struct slice name, uint64_t most, uint64_t *value)
{
    uint64_t number;
    if (!slice_starts(word, name) || slice_to_u64(slice_of(word.at + name.length, word.length - name.length), &number) != ERR_OK || number > most)
        return false;
    *value = number;
    return true;
}

/* "pool/address", both of them as they would stand in a configuration. */
static bool read_key(struct slice key, struct slice *pool, struct slice *address)
{
    const char *slash = key.length ? memchr(key.at, '/', key.length) : NULL;
    if (!slash)
        return false;
    *pool = slice_of(key.at, (size_t)(slash - key.at));
    *address = slice_of(slash + 1, key.length - pool->length - 1);
    struct config_memory memory = { 0 };
    struct address read;
    bool well = value_check_name(*pool) == NULL && value_read_address(&memory, *address, ADDRESS_OF_SERVER, &read) == NULL &&
                (memory.failed || slice_equal(read.text, *address));
    config_memory_release(&memory);
    return well;
}

/* Lines -------------------------------------------------------------------------------------------------------- */

struct changes {
    uint64_t weight, max_connections, group;
    bool weighted, limited;
};

static bool read_changes(struct slice rest, struct changes *changes)
{
    *changes = (struct changes){ 0 };
    while (rest.length) {
        struct slice word = next_word(&rest);
        if (read_number(word, SLICE("weight="), SERVER_WEIGHT_MAX, &changes->weight) && changes->weight > 0)
            changes->weighted = true;
        else if (read_number(word, SLICE("max-connections="), 1000000, &changes->max_connections))
            changes->limited = true;
        else if (!read_number(word, SLICE("group="), SERVER_GROUP_MAX, &changes->group))
            return false;
    }
    return true;
}

static bool take_entry(struct state *state, struct slice word, struct slice rest)
{
    struct slice pool, address, key = next_word(&rest);
    struct changes changes;
    bool added = slice_equal(word, SLICE("add")), removed = slice_equal(word, SLICE("remove"));
    if (!read_key(key, &pool, &address) || !read_changes(rest, &changes) || overlay_find(&state->overlay, pool, address))
        return false;
    if (!added && (removed == (changes.weighted || changes.limited || changes.group > 0)))
        return false;
    struct overlay_entry *entry = overlay_entry(&state->overlay, pool, address);
    if (!entry)
        return false;
    entry->added = added;
    entry->removed = removed;
    entry->weight = changes.weighted ? (uint32_t)changes.weight : OVERLAY_UNCHANGED;
    entry->max_connections = changes.limited ? (uint32_t)changes.max_connections : OVERLAY_UNCHANGED;
    entry->group = (uint8_t)changes.group;
    return true;
}

static bool read_up(struct slice word, bool *up)
{
    *up = slice_equal(word, SLICE("up"));
    return *up || slice_equal(word, SLICE("down"));
}

static bool read_mark(struct slice rest, struct state_server *server)
{
    uint64_t marks = 0, failures = 0;
    bool well = read_number(next_word(&rest), SLICE("ms="), STATE_MARK_MS_MAX, &server->marked_ms) &&
                read_number(next_word(&rest), SLICE("marks="), 64, &marks) &&
                read_number(next_word(&rest), SLICE("failures="), UINT32_MAX, &failures) && rest.length == 0;
    server->marks = (uint32_t)marks;
    server->failures = (uint32_t)failures;
    return well;
}

static bool take_server(struct state *state, struct slice word, struct slice rest)
{
    struct state_server server = { .key = next_word(&rest) };
    struct slice pool, address;
    bool well = read_key(server.key, &pool, &address) && state->server_count < STATE_SERVERS_MAX;
    if (slice_equal(word, SLICE("drained"))) {
        server.word = STATE_DRAINED;
        well = well && rest.length == 0;
    } else if (slice_equal(word, SLICE("forced")) || slice_equal(word, SLICE("checked"))) {
        server.word = slice_equal(word, SLICE("forced")) ? STATE_FORCED : STATE_CHECKED;
        well = well && read_up(rest, &server.up);
    } else {
        server.word = STATE_MARKED;
        well = well && slice_equal(word, SLICE("marked")) && read_mark(rest, &server);
    }
    if (well)
        state->servers[state->server_count++] = server;
    return well;
}

static bool take_line(struct state *state, struct slice line)
{
    struct slice rest = line, word = next_word(&rest);
    if (slice_equal(word, SLICE("add")) || slice_equal(word, SLICE("remove")) || slice_equal(word, SLICE("change")))
        return take_entry(state, word, rest);
    return take_server(state, word, rest);
}

static void warn(struct state *state, uint32_t number)
{
    if (state->skipped++ < STATE_WARNINGS_MAX)
        text_format(&state->warnings, "line %u is skipped: it says nothing that is known, or says it twice, or there is no room\n", number);
}

static bool next_line(struct slice *rest, struct slice *line)
{
    if (rest->length == 0)
        return false;
    const char *end = memchr(rest->at, '\n', rest->length);
    *line = slice_of(rest->at, end ? (size_t)(end - rest->at) : rest->length);
    size_t used = line->length + (end != NULL);
    *rest = slice_of(rest->at + used, rest->length - used);
    return true;
}

static bool read_head(struct slice *rest, int64_t *written)
{
    struct slice line;
    uint64_t seconds;
    if (!next_line(rest, &line) || !slice_equal(line, SLICE("weir-state 1")) || !next_line(rest, &line) || !slice_starts(line, SLICE("written ")) ||
        slice_to_u64(slice_of(line.at + 8, line.length - 8), &seconds) != ERR_OK || seconds > INT64_MAX)
        return false;
    *written = (int64_t)seconds;
    return true;
}

enum err state_parse(struct slice text, struct state *state)
{
    struct slice line;
    *state = (struct state){ 0 };
    if (text.length > STATE_BYTES_MAX || !read_head(&text, &state->written))
        return ERR_SYNTAX;
    state->servers = FAULT("state") ? NULL : calloc(STATE_SERVERS_MAX, sizeof *state->servers);
    if (!state->servers)
        return ERR_MEMORY;
    for (uint32_t number = 3; next_line(&text, &line); number++)
        if (line.length && !take_line(state, line))
            warn(state, number);
    return ERR_OK;
}

void state_release(struct state *state)
{
    overlay_release(&state->overlay);
    free(state->servers);
    text_release(&state->warnings);
    *state = (struct state){ 0 };
}

/* Writing ------------------------------------------------------------------------------------------------------ */

void state_write_head(int64_t now, struct text *out)
{
    text_format(out, "weir-state 1\nwritten %lld\n", (long long)(now > 0 ? now : 0));
}

void state_write_entry(const struct overlay_entry *entry, struct text *out)
{
    text_format(out, "%s %.*s", entry->added ? "add" : entry->removed ? "remove" : "change", (int)entry->key.length, entry->key.at);
    if (entry->weight != OVERLAY_UNCHANGED)
        text_format(out, " weight=%u", entry->weight);
    if (entry->max_connections != OVERLAY_UNCHANGED)
        text_format(out, " max-connections=%u", entry->max_connections);
    if (entry->group)
        text_format(out, " group=%u", entry->group);
    text_add(out, SLICE("\n"));
}

void state_write_server(const struct state_server *server, struct text *out)
{
    static const char *const words[] = { [STATE_DRAINED] = "drained", [STATE_FORCED] = "forced", [STATE_CHECKED] = "checked", [STATE_MARKED] = "marked" };
    text_format(out, "%s %.*s", words[server->word], (int)server->key.length, server->key.at);
    if (server->word == STATE_FORCED || server->word == STATE_CHECKED)
        text_add(out, server->up ? SLICE(" up") : SLICE(" down"));
    if (server->word == STATE_MARKED)
        text_format(out, " ms=%llu marks=%u failures=%u", (unsigned long long)server->marked_ms, server->marks, server->failures);
    text_add(out, SLICE("\n"));
}

/* Files -------------------------------------------------------------------------------------------------------- */

static ssize_t read_all(int fd, char *at, size_t room)
{
    size_t length = 0;
    while (length < room) {
        ssize_t got = read(fd, at + length, room - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -1 : (ssize_t)length;
        length += (size_t)got;
    }
    return (ssize_t)length;
}

enum err state_read_file(const char *path, char **bytes, size_t *length)
{
    int fd = FAULT("state") ? (errno = EMFILE, -1) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? ERR_NONE : ERR_SYSTEM;
    *bytes = FAULT("state") ? NULL : malloc(STATE_BYTES_MAX + 1);
    ssize_t got = *bytes ? read_all(fd, *bytes, STATE_BYTES_MAX + 1) : -1;
    int error = errno;
    close(fd);
    errno = error;
    if (got >= 0 && got <= (ssize_t)STATE_BYTES_MAX) {
        *length = (size_t)got;
        return ERR_OK;
    }
    enum err e = !*bytes ? ERR_MEMORY : got < 0 ? ERR_SYSTEM : ERR_CAP;
    free(*bytes);
    *bytes = NULL;
    return e;
}

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.length) {
        ssize_t put = FAULT("state") ? (errno = ENOSPC, -1) : write(fd, bytes.at, bytes.length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        bytes = slice_of(bytes.at + put, bytes.length - (size_t)put);
    }
    return true;
}

/* The name is safe on the disk when its folder is. */
static void sync_folder(const char *path)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        return;
    slash[slash == folder] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

static bool complain(char why[256], const char *path)
{
    snprintf(why, 256, "cannot write \"%.180s\": %s", path, strerror(errno));
    return false;
}

bool state_write_file(const char *path, struct slice bytes, char why[256])
{
    char beside[4096 + 8];
    snprintf(beside, sizeof beside, "%s.new", path);
    int fd = FAULT("state") ? (errno = EMFILE, -1) : open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return complain(why, beside);
    bool well = write_all(fd, bytes) && fsync(fd) == 0;
    int error = errno;
    close(fd);
    if (well && rename(beside, path) == 0) {
        sync_folder(path);
        return true;
    }
    errno = well ? errno : error;
    complain(why, path);
    unlink(beside);
    return false;
}
