#include "engine/passwords.h"

#include <crypt.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "engine/base/random.h"
#include "engine/file.h"
#include "proto/basic_auth.h"

#define BCRYPT_COST_MAX 14u      /* a second */
#define ROUNDS_MAX 1000000u      /* of SHA; likewise */
#define YESCRYPT_COST_MOST 'C'   /* "$y$jCT$", mkpasswd's 8: 0.2 s and 128 MiB */

struct user {
    struct slice name; /* in `text` */
    struct slice hash; /* likewise; a NUL stands behind it */
    uint32_t line;
};

struct passwords {
    struct file file;
    char *text; /* the same bytes with a NUL behind each hash */
    struct user *users; /* by name */
    uint32_t count;
    uint64_t serial;
    uint64_t seed[2]; /* which hash stands for an unknown name */
    _Atomic uint32_t references;
};

/* Hashes --------------------------------------------------------------------------------------------------------- */

static bool is_hash_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '/';
}

/* Takes what stands before the next '$' off the front, with it. False: there is none. */
static bool take_part(struct slice *rest, struct slice *part)
{
    const char *end = rest->length ? memchr(rest->at, '$', rest->length) : NULL;
    if (!end)
        return false;
    *part = slice_of(rest->at, (size_t)(end - rest->at));
    *rest = slice_of(end + 1, rest->length - part->length - 1);
    return true;
}

static bool all_letters(struct slice text, size_t least, size_t most)
{
    for (size_t i = 0; i < text.length; i++)
        if (!is_hash_letter(text.at[i]))
            return false;
    return text.length >= least && text.length <= most;
}

static const char *const cut_short = "the hash is malformed, or was cut";

/* $2b$10$ and 53 letters. */
static const char *check_bcrypt(struct slice rest)
{
    struct slice cost;
    uint64_t number;
    if (!take_part(&rest, &cost) || cost.length != 2 || slice_to_u64(cost, &number) != ERR_OK || number < 4 || !all_letters(rest, 53, 53))
        return cut_short;
    return number > BCRYPT_COST_MAX ? "a cost of bcrypt above 14 takes seconds for each password" : NULL;
}

/* $6$[rounds=5000$]salt$ and 86 letters; $5$: 43. */
static const char *check_sha(struct slice rest, size_t letters)
{
    struct slice part;
    uint64_t rounds = 5000;
    if (!take_part(&rest, &part))
        return cut_short;
    if (slice_starts(part, SLICE("rounds="))) {
        if (slice_to_u64(slice_of(part.at + 7, part.length - 7), &rounds) != ERR_OK || rounds < 1000 || !take_part(&rest, &part))
            return cut_short;
    }
    if (!all_letters(part, 0, 16) || !all_letters(rest, letters, letters))
        return cut_short;
    return rounds > ROUNDS_MAX ? "more than 1000000 rounds take seconds for each password" : NULL;
}

/* The order of crypt(3)'s digits: ./0-9A-Za-z. */
static unsigned digit_rank(char c)
{
    return c >= 'a' ? (unsigned)(c - 'a') + 38 : c >= 'A' ? (unsigned)(c - 'A') + 12 : (unsigned)(c - '.');
}

/* $y$j9T$salt$ and 43 letters; flavour, memory and block size as crypt_gensalt(3) makes them. */
static const char *check_yescrypt(struct slice rest)
{
    struct slice parameters, salt;
    if (!take_part(&rest, &parameters) || !take_part(&rest, &salt) || !all_letters(parameters, 1, 16) || !all_letters(salt, 1, 86) ||
        !all_letters(rest, 43, 43))
        return cut_short;
    if (parameters.length != 3 || parameters.at[0] != 'j' || digit_rank(parameters.at[2]) > digit_rank('T') ||
        digit_rank(parameters.at[1]) > digit_rank(YESCRYPT_COST_MOST))
        return "these parameters of yescrypt take seconds, or much memory, for each password: mkpasswd's cost is at most 8 here";
    return NULL;
}

static const char *check_hash(struct slice hash)
{
    static const char *const weak = "can be guessed too quickly: make the hash with htpasswd -B or mkpasswd";
    static char room[128]; /* control thread only */
    static const struct { struct slice prefix; const char *name; } others[] = {
        { SLICE("$apr1$"), "Apache's MD5" }, { SLICE("$1$"), "MD5" }, { SLICE("$md5"), "Sun's MD5" }, { SLICE("{SHA}"), "SHA-1" }, { SLICE("{SSHA}"), "SHA-1" },
        { SLICE("$sha1$"), "SHA-1" }, { SLICE("$3$"), "NT's hash" }, { SLICE("_"), "DES" },
    };
    if (hash.length > PASSWORDS_HASH_BYTES_MAX)
        return "a hash has at most 255 characters";
    if (slice_starts(hash, SLICE("$2a$")) || slice_starts(hash, SLICE("$2b$")) || slice_starts(hash, SLICE("$2y$")))
        return check_bcrypt(slice_of(hash.at + 4, hash.length - 4));
    if (slice_starts(hash, SLICE("$y$")))
        return check_yescrypt(slice_of(hash.at + 3, hash.length - 3));
    if (slice_starts(hash, SLICE("$5$")) || slice_starts(hash, SLICE("$6$")))
        return check_sha(slice_of(hash.at + 3, hash.length - 3), hash.at[1] == '5' ? 43 : 86);
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
        if (!slice_starts(hash, others[i].prefix))
            continue;
        snprintf(room, sizeof room, "%s %s", others[i].name, weak);
        return room;
    }
    if (all_letters(hash, 13, 13))
        return "DES, or a plain password: make the hash with htpasswd -B or mkpasswd";
    return "no hash of bcrypt, yescrypt, sha512crypt or sha256crypt: make it with htpasswd -B or mkpasswd";
}

/* Lines ---------------------------------------------------------------------------------------------------------- */

static const char *check_name(struct slice name)
{
    if (name.length == 0)
        return "the name is missing before the colon";
    if (name.length > BASIC_AUTH_USER_MAX)
        return "a name has at most 128 bytes";
    for (size_t i = 0; i < name.length; i++)
        if ((unsigned char)name.at[i] < ' ' || name.at[i] == 0x7f)
            return "a name has no control characters";
    return NULL;
}

static const char *read_line(struct slice line, uint32_t number, struct user *user)
{
    const char *colon = memchr(line.at, ':', line.length);
    if (!colon)
        return "a line is name:hash";
    user->name = slice_of(line.at, (size_t)(colon - line.at));
    user->hash = slice_of(colon + 1, line.length - user->name.length - 1);
    user->line = number;
    const char *complaint = check_name(user->name);
    return complaint ? complaint : check_hash(user->hash);
}

static struct slice take_line(struct slice *rest)
{
    const char *end = memchr(rest->at, '\n', rest->length);
    size_t length = end ? (size_t)(end - rest->at) : rest->length, used = end ? length + 1 : length;
    struct slice line = slice_of(rest->at, length);
    *rest = slice_of(rest->at + used, rest->length - used);
    if (line.length && line.at[line.length - 1] == '\r')
        line.length--;
    return slice_trim(line);
}

static bool complain_of_line(char why[256], struct slice path, uint32_t line, const char *complaint)
{
    char reason[256];
    snprintf(reason, sizeof reason, "line %u: %s", line, complaint);
    file_complain(why, "users", path, reason);
    errno = 0;
    return false;
}

static uint32_t count_lines(struct slice bytes)
{
    uint32_t lines = 1;
    for (size_t i = 0; i < bytes.length; i++)
        lines += bytes.at[i] == '\n';
    return lines;
}

static int compare_users(const void *a, const void *b)
{
    const struct user *left = a, *right = b;
    int order = memcmp(left->name.at, right->name.at, size_min(left->name.length, right->name.length));
    if (order == 0)
        order = left->name.length < right->name.length ? -1 : left->name.length > right->name.length;
    return order ? order : left->line < right->line ? -1 : left->line > right->line;
}

static bool have_all_other_names(const struct passwords *passwords, struct slice path, char why[256])
{
    for (uint32_t i = 1; i < passwords->count; i++) {
        const struct user *first = &passwords->users[i - 1], *second = &passwords->users[i];
        char reason[96];
        if (!slice_equal(first->name, second->name))
            continue;
        snprintf(reason, sizeof reason, "\"%.*s\" stands in line %u already", (int)size_min(first->name.length, 48), first->name.at, first->line);
        return complain_of_line(why, path, second->line, reason);
    }
    return true;
}

static bool read_lines(struct passwords *passwords, struct slice path, char why[256])
{
    struct slice rest = slice_of(passwords->text, passwords->file.length);
    for (uint32_t number = 1; rest.length; number++) {
        struct slice line = take_line(&rest);
        if (line.length == 0 || line.at[0] == '#')
            continue;
        if (passwords->count == PASSWORDS_USERS_MAX)
            return complain_of_line(why, path, number, "more than 65536 users");
        const char *complaint = read_line(line, number, &passwords->users[passwords->count]);
        if (complaint)
            return complain_of_line(why, path, number, complaint);
        passwords->count++;
    }
    if (passwords->count == 0) {
        file_complain(why, "users", path, "it names nobody");
        return errno = 0, false;
    }
    qsort(passwords->users, passwords->count, sizeof *passwords->users, compare_users);
    return have_all_other_names(passwords, path, why);
}

/* The file -------------------------------------------------------------------------------------------------------- */

static _Atomic uint64_t serials;

static void wipe(struct passwords *passwords)
{
    if (passwords->text)
        explicit_bzero(passwords->text, passwords->file.length);
    free(passwords->text);
    free(passwords->users);
    file_release(&passwords->file);
    free(passwords);
}

static bool make_room(struct passwords *passwords)
{
    size_t users = size_min(count_lines(file_slice(&passwords->file)), PASSWORDS_USERS_MAX);
    passwords->text = FAULT("passwords") ? NULL : malloc(passwords->file.length + 1);
    passwords->users = FAULT("passwords") ? NULL : calloc(users, sizeof *passwords->users);
    if (!passwords->text || !passwords->users || random_block((unsigned char *)passwords->seed, sizeof passwords->seed) != 0)
        return false;
    memcpy(passwords->text, passwords->file.at, passwords->file.length);
    passwords->text[passwords->file.length] = '\0';
    return true;
}

/* A hash's end is a line's end: '\n', '\r', a space, or the file's. */
static void end_hashes(struct passwords *passwords)
{
    for (uint32_t i = 0; i < passwords->count; i++)
        passwords->text[(size_t)(passwords->users[i].hash.at - passwords->text) + passwords->users[i].hash.length] = '\0';
}

struct passwords *passwords_read(struct slice path, struct passwords *previous, char why[256])
{
    struct passwords *passwords = FAULT("passwords") ? NULL : calloc(1, sizeof *passwords);
    if (!passwords) {
        file_complain(why, "users", path, err_text(ERR_MEMORY));
        return errno = 0, NULL;
    }
    bool well = file_read("users", path, PASSWORDS_FILE_BYTES_MAX, &passwords->file, why);
    if (well && previous && slice_equal(file_slice(&passwords->file), file_slice(&previous->file))) {
        wipe(passwords);
        return passwords_ref(previous);
    }
    if (well && !make_room(passwords)) {
        file_complain(why, "users", path, err_text(ERR_MEMORY));
        errno = 0;
        well = false;
    }
    if (!well || (passwords->text && !read_lines(passwords, path, why))) {
        int error = errno;
        wipe(passwords);
        return errno = error, NULL;
    }
    end_hashes(passwords);
    passwords->serial = atomic_fetch_add(&serials, 1) + 1;
    atomic_store(&passwords->references, 1);
    return passwords;
}

struct passwords *passwords_ref(struct passwords *passwords)
{
    atomic_fetch_add_explicit(&passwords->references, 1, memory_order_relaxed);
    return passwords;
}

void passwords_unref(struct passwords *passwords)
{
    if (passwords && atomic_fetch_sub_explicit(&passwords->references, 1, memory_order_acq_rel) == 1)
        wipe(passwords);
}

uint32_t passwords_count(const struct passwords *passwords)
{
    return passwords->count;
}

uint64_t passwords_serial(const struct passwords *passwords)
{
    return passwords->serial;
}

/* Asking --------------------------------------------------------------------------------------------------------- */

static const struct user *find_user(const struct passwords *passwords, struct slice name)
{
    uint32_t low = 0, high = passwords->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct user *user = &passwords->users[middle];
        int order = memcmp(name.at ? name.at : "", user->name.at, size_min(name.length, user->name.length));
        if (order == 0 && name.length == user->name.length)
            return user;
        if (order < 0 || (order == 0 && name.length < user->name.length))
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *passwords_hash(const struct passwords *passwords, struct slice name, bool *known)
{
    const struct user *user = find_user(passwords, name);
    uint64_t other = siphash13(name.at, name.length, passwords->seed[0], passwords->seed[1]) % passwords->count;
    *known = user != NULL;
    return (user ? user : &passwords->users[other])->hash.at;
}

const size_t PASSWORDS_ROOM_BYTES = sizeof(struct crypt_data);

static bool same_bytes(const char *a, const char *b, size_t length)
{
    unsigned char different = 0;
    for (size_t i = 0; i < length; i++)
        different |= (unsigned char)(a[i] ^ b[i]);
    return different == 0;
}

bool passwords_match(const char *hash, struct slice password, void *room)
{
    struct crypt_data *data = room;
    char text[BASIC_AUTH_PASSWORD_MAX + 1];
    if (password.length > BASIC_AUTH_PASSWORD_MAX || (password.length && memchr(password.at, '\0', password.length)))
        return false;
    memset(data, 0, sizeof *data);
    if (password.length)
        memcpy(text, password.at, password.length);
    text[password.length] = '\0';
    const char *made = crypt_rn(text, hash, data, sizeof *data); /* AddressSanitizer has its own crypt_r, and then the library is not linked */
    size_t length = strlen(hash);
    bool same = made && strlen(made) == length && same_bytes(made, hash, length);
    explicit_bzero(text, sizeof text);
    explicit_bzero(data, sizeof *data);
    return same;
}
