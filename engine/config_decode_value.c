/*
 * The values that are one scalar, or a list of them: numbers with their bounds, words, texts with their checks, addresses,
 * and names of other things in the file. What a text means is said by config_value.c; here it is taken from a node, and
 * what is wrong with it is told with its place.
 */
#include <stdio.h>

#include "engine/config_decode.h"
#include "engine/config_value.h"

static struct config_problem *refuse(struct decoder *decoder, const struct row *row, const struct node *node)
{
    return problem_error(decoder->reporter, node->place, "'%s' is no value for '%s'", quoted(node->text).text, row->word);
}

/* Numbers --------------------------------------------------------------------------------------------------------- */

struct number_type {
    const char *(*read)(struct slice text, uint64_t *value);
    void (*write)(uint64_t value, char out[VALUE_TEXT_BYTES]);
};
static const struct number_type number_types[ROW_TYPES] = {
    [TYPE_COUNT] = { value_read_count, value_write_count },
    [TYPE_DURATION] = { value_read_milliseconds, value_write_milliseconds },
    [TYPE_SECONDS] = { value_read_seconds, value_write_seconds },
    [TYPE_MICROSECONDS] = { value_read_microseconds, value_write_microseconds },
    [TYPE_SIZE] = { value_read_size, value_write_size },
    [TYPE_PERCENT] = { value_read_percent, value_write_percent },
    [TYPE_HUNDREDTHS] = { value_read_hundredths, value_write_hundredths },
    [TYPE_MODE] = { value_read_mode, value_write_mode },
};

static bool number_in_range(struct decoder *decoder, const struct row *row, const struct node *node, uint64_t value)
{
    char bound[VALUE_TEXT_BYTES];
    uint64_t least = row->zero && row->least == 0 ? 1 : row->least;
    if (value >= least && value <= row->most)
        return true;
    bool small = value < least;
    struct config_problem *problem = problem_error(decoder->reporter, node->place, "'%s' is too %s for '%s'",
                                                   quoted(node->text).text, small ? "small" : "large", row->word);
    number_types[row->type].write(small ? least : row->most, bound);
    if (small && value == 0 && row->zero)
        problem_help(problem, "write '%s'", row->zero);
    else
        problem_help(problem, "it is %s %s", small ? "at least" : "at most", bound);
    return false;
}

void decode_number(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct slice text;
    uint64_t value = 0;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    if (row->zero && slice_equal(text, slice_of_text(row->zero))) {
        row_store(row, target, 0);
        return;
    }
    const char *complaint = number_types[row->type].read(text, &value);
    if (complaint) {
        struct config_problem *problem = refuse(decoder, row, node);
        if (row->zero)
            problem_help(problem, "%s; or '%s'", complaint, row->zero);
        else
            problem_help(problem, "%s", complaint);
    } else if (number_in_range(decoder, row, node, value)) {
        row_store(row, target, value);
    }
}

void decode_flag(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = value_read_flag(text, row_member(row, target));
    if (complaint)
        problem_help(refuse(decoder, row, node), "%s", complaint);
}

/* Words and texts ------------------------------------------------------------------------------------------------- */

static void suggest_word(struct config_problem *problem, const struct row_word *words, struct slice written)
{
    struct nearest nearest = nearest_to(written);
    char list[200] = "";
    size_t length = 0;
    for (size_t i = 0; words[i].word; i++) {
        nearest_offer(&nearest, slice_of_text(words[i].word));
        int added = snprintf(list + length, sizeof list - length, "%s%s", i ? ", " : "", words[i].word);
        length = size_min(length + (size_t)added, sizeof list - 1);
    }
    if (nearest.best.at && written.length > 3) /* of three letters, one changed, too little is left to guess from */
        problem_help(problem, "did you mean '%s'?", nearest.best.at);
    else
        problem_help(problem, "one of: %s%s", list, length == sizeof list - 1 ? "..." : "");
}

static const struct row_word *find_word(const struct row_word *words, struct slice text)
{
    for (; words->word; words++) {
        if (slice_equal(slice_of_text(words->word), text))
            return words;
    }
    return NULL;
}

void decode_word(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const struct row_word *word = find_word(row->words, text);
    if (word)
        row_store(row, target, word->value);
    else
        suggest_word(refuse(decoder, row, node), row->words, text);
}

static void take_all_words(const struct row_word *words, struct config_words *out)
{
    for (; words->word && out->count < CONFIG_WORDS_MAX; words++)
        out->list[out->count++] = (uint16_t)words->value;
}

static void take_word(struct decoder *decoder, const struct row *row, const struct node *node, struct config_words *out)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const struct row_word *word = find_word(row->words, text);
    if (!word) {
        suggest_word(refuse(decoder, row, node), row->words, text);
        return;
    }
    for (uint32_t i = 0; i < out->count; i++) {
        if (out->list[i] == word->value) {
            problem_error(decoder->reporter, node->place, "'%s' stands twice in '%s'", word->word, row->word);
            return;
        }
    }
    if (out->count < CONFIG_WORDS_MAX) /* the tables are shorter */
        out->list[out->count++] = (uint16_t)word->value;
}

/* Of a default: "connect, closed". */
static void take_usual_words(const struct row *row, struct config_words *out)
{
    struct slice rest = slice_of_text(row->usual);
    while (rest.length) {
        const char *comma = memchr(rest.at, ',', rest.length);
        size_t length = comma ? (size_t)(comma - rest.at) : rest.length;
        const struct row_word *word = find_word(row->words, slice_trim(slice_of(rest.at, length)));
        out->list[out->count++] = (uint16_t)(word ? word->value : 0);
        size_t used = comma ? length + 1 : length;
        rest = slice_of(rest.at + used, rest.length - used);
    }
}

/* A list, one word, or "all" of the table. */
void decode_words(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct config_words *out = row_member(row, target);
    if (node->kind == NODE_SCALAR && slice_equal(node->text, SLICE("all"))) {
        take_all_words(row->words, out);
        return;
    }
    if (node->kind == NODE_SCALAR && slice_equal(node->text, slice_of_text(row->usual))) {
        take_usual_words(row, out);
        return;
    }
    if (node->kind == NODE_MAP || node_items(node) == 0) {
        problem_error(decoder->reporter, node->place, "'%s' is a list of words", row->word);
        return;
    }
    const struct node_child *child = NULL;
    for (const struct node *item; (item = node_next(node, &child));)
        take_word(decoder, row, item, out);
}

static void make_lower(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        char *c = (char *)(uintptr_t)text.at + i;
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
    }
}

static void take_text(struct decoder *decoder, const struct row *row, const struct node *node, struct slice *name)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = row->check(text);
    if (complaint) {
        problem_help(refuse(decoder, row, node), "%s", complaint);
        return;
    }
    *name = decode_copy(decoder, text);
}

void decode_texts(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    uint32_t count = node_items(node), taken = 0;
    if (node->kind == NODE_MAP || count < row->least || count > row->most) {
        struct config_problem *problem = problem_error(decoder->reporter, node->place, "'%s' is a list of 1 to %u %s", row->word,
                                                       (unsigned)row->most, row_type_noun(row->type));
        if (row->zero)
            problem_help(problem, "or %s", row->zero);
        return;
    }
    struct slice *texts = decode_take(decoder, count, sizeof *texts);
    if (!texts)
        return;
    const struct node_child *child = NULL;
    for (const struct node *item; (item = node_next(node, &child));)
        take_text(decoder, row, item, &texts[taken++]);
    memcpy(row_member(row, target), &texts, sizeof texts);
    memcpy((char *)target + row->count_offset, &count, sizeof count);
}

/* Or the word for no text at all. */
void decode_texts_or_none(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    const uint32_t none = 0;
    if (node->kind == NODE_SCALAR && slice_equal(node->text, slice_of_text(row->zero)))
        memcpy((char *)target + row->count_offset, &none, sizeof none);
    else
        decode_texts(decoder, row, node, target);
}

void decode_lower_texts(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct slice *texts;
    decode_texts(decoder, row, node, target);
    memcpy(&texts, row_member(row, target), sizeof texts);
    for (uint32_t i = 0; i < row_items(row, target); i++)
        make_lower(texts[i]);
}

void decode_text(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct slice text, *member = row_member(row, target);
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    if (row->zero && slice_equal(text, slice_of_text(row->zero))) {
        *member = SLICE("");
        return;
    }
    const char *complaint = row->check ? row->check(text) : NULL;
    if (complaint)
        problem_help(refuse(decoder, row, node), "%s", complaint);
    else
        *member = decode_copy(decoder, text);
}

void decode_name(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct slice text, *member = row_member(row, target);
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = value_check_name(text);
    if (complaint)
        problem_help(refuse(decoder, row, node), "%s", complaint);
    else
        *member = decode_copy(decoder, text);
}

/* "/a" and "/a/" are one prefix, since prefixes are whole segments. */
void decode_prefix(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct slice text, *member = row_member(row, target);
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = value_check_path(text);
    if (!complaint && memchr(text.at, '*', text.length))
        complaint = "a prefix is written without '*'";
    if (text.length && text.at[text.length - 1] == '/')
        text.length--;
    if (!complaint && text.length == 0)
        complaint = "'/' alone changes nothing";
    if (complaint)
        problem_help(refuse(decoder, row, node), "%s", complaint);
    else
        *member = decode_copy(decoder, text);
}

/* x, rfc7239, both or off: two flags side by side. */
static const struct row_word forwarded_words[] = { { "off", 0 }, { "x", 1 }, { "rfc7239", 2 }, { "both", 3 }, { NULL, 0 } };

void decode_forwarded(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct config *config = target;
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const struct row_word *word = find_word(forwarded_words, text);
    if (!word) {
        suggest_word(refuse(decoder, row, node), forwarded_words, text);
        return;
    }
    config->forwarded_x = word->value & 1;
    config->forwarded_rfc7239 = word->value & 2;
}

void decode_status_range(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    uint16_t *range = row_member(row, target); /* the first and, behind it, the last */
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    if (row->zero && slice_equal(text, slice_of_text(row->zero))) {
        range[0] = range[1] = 0;
        return;
    }
    const char *complaint = value_read_status_range(text, &range[0], &range[1]);
    if (complaint)
        problem_help(refuse(decoder, row, node), "%s", complaint);
}

/* One, a range, or a list of them. */
void decode_statuses(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct config_check *check = target;
    uint32_t count = node_items(node);
    if (node->kind == NODE_MAP || count < row->least || count > row->most) {
        problem_error(decoder->reporter, node->place, "'%s' is a status, a range, or a list of 1 to %u", row->word, (unsigned)row->most);
        return;
    }
    const struct node_child *child = NULL;
    for (const struct node *item; (item = node_next(node, &child));) {
        struct slice text;
        if (!decode_scalar(decoder, row->word, item, &text))
            continue;
        struct status_range *range = &check->statuses[check->status_count++];
        const char *complaint = value_read_status_range(text, &range->first, &range->last);
        if (complaint)
            problem_help(refuse(decoder, row, item), "%s", complaint);
    }
}

static const struct row_word hash_words[] = {
    { "uri", HASH_URI }, { "path", HASH_PATH }, { "host", HASH_HOST }, { "client-address", HASH_CLIENT_ADDRESS }, { NULL, 0 },
};
static const struct row_word hash_named[] = { { "header:", HASH_HEADER }, { "cookie:", HASH_COOKIE }, { "query:", HASH_QUERY }, { NULL, 0 } };

/* True when text is header:NAME, cookie:NAME or query:NAME, well or not. */
static bool decode_hash_name(struct decoder *decoder, const struct row *row, const struct node *node, struct config_pool *pool)
{
    for (const struct row_word *word = hash_named; word->word; word++) {
        struct slice prefix = slice_of_text(word->word);
        if (!slice_starts(node->text, prefix))
            continue;
        struct slice name = slice_of(node->text.at + prefix.length, node->text.length - prefix.length);
        const char *complaint = value_check_field_name(name);
        if (complaint) {
            problem_help(refuse(decoder, row, node), "the name behind '%s' is made of letters, digits and '-'", word->word);
        } else {
            pool->hash_key = (enum hash_key)word->value;
            pool->hash_name = decode_copy(decoder, name);
        }
        return true;
    }
    return false;
}

void decode_hash_key(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct config_pool *pool = target;
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text) || decode_hash_name(decoder, row, node, pool))
        return;
    const struct row_word *word = find_word(hash_words, text);
    if (word) {
        pool->hash_key = (enum hash_key)word->value;
        return;
    }
    struct config_problem *problem = refuse(decoder, row, node);
    suggest_word(problem, hash_words, text);
    if (strncmp(problem->help, "one of", 6) == 0)
        problem_help(problem, "one of: uri, path, host, client-address, header:NAME, cookie:NAME, query:NAME");
}

/* Addresses and references ---------------------------------------------------------------------------------------- */

void decode_address(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    enum address_use use = row->type == TYPE_LISTEN_ADDRESS ? ADDRESS_OF_LISTENER : ADDRESS_OF_SERVER;
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = value_read_address(decoder->memory, text, use, row_member(row, target));
    if (complaint)
        problem_help(refuse(decoder, row, node), "%s", complaint);
}

static void decode_network(struct decoder *decoder, const struct row *row, const struct node *node, struct network *network)
{
    char clean[VALUE_TEXT_BYTES];
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = value_read_network(text, network);
    if (complaint) {
        problem_help(refuse(decoder, row, node), "%s", complaint);
    } else if (!network_is_clean(network)) {
        struct network cleaned = network_cleaned(network);
        value_write_network(&cleaned, clean);
        problem_help(refuse(decoder, row, node), "it has bits beyond its length; the network is %s", clean);
    }
}

void decode_networks(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    uint32_t count = node_items(node), kept = 0;
    if (node->kind == NODE_MAP || count < row->least || count > row->most) {
        problem_error(decoder->reporter, node->place, "'%s' is a list of 1 to %u networks", row->word, (unsigned)row->most);
        return;
    }
    struct network *networks = decode_take(decoder, count, sizeof *networks);
    if (!networks)
        return;
    const struct node_child *child = NULL;
    for (const struct node *item; (item = node_next(node, &child));)
        decode_network(decoder, row, item, &networks[kept++]);
    memcpy(row_member(row, target), &networks, sizeof networks);
    memcpy((char *)target + row->count_offset, &kept, sizeof kept);
}

static void decode_name_server(struct decoder *decoder, const struct row *row, const struct node *node, struct address *address)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const char *complaint = value_read_name_server(decoder->memory, text, address);
    if (complaint)
        problem_help(refuse(decoder, row, node), "%s", complaint);
}

void decode_name_servers(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct config_dns *dns = target;
    uint32_t count = node_items(node);
    if (node->kind == NODE_MAP || count < row->least || count > row->most) {
        problem_error(decoder->reporter, node->place, "'%s' is a list of 1 to %u addresses", row->word, (unsigned)row->most);
        return;
    }
    dns->servers = decode_take(decoder, count, sizeof *dns->servers);
    if (!dns->servers)
        return;
    const struct node_child *child = NULL;
    for (const struct node *item; (item = node_next(node, &child));)
        decode_name_server(decoder, row, item, &dns->servers[dns->server_count++]);
}

/* A route names a pool before the pools are read: the index is its place in the file. */
void decode_pool(struct decoder *decoder, const struct row *row, const struct node *node, void *target)
{
    struct slice text;
    if (!decode_scalar(decoder, row->word, node, &text))
        return;
    const struct node *pools = node_find(decoder->root, "pools");
    struct nearest nearest = nearest_to(text);
    const struct node_child *child = pools && pools->kind == NODE_MAP ? pools->first : NULL;
    for (uint32_t i = 0; child; child = child->next, i++) {
        if (slice_equal(child->key->text, text)) {
            row_store(row, target, i);
            return;
        }
        nearest_offer(&nearest, child->key->text);
    }
    struct config_problem *problem = problem_error(decoder->reporter, node->place, "there is no pool '%s'", quoted(text).text);
    if (nearest.best.at)
        problem_help(problem, "did you mean '%s'?", quoted(nearest.best).text);
    else
        problem_help(problem, "add it: pools: { %s: { servers: [ 127.0.0.1:9001 ] } }", quoted(text).text);
}
