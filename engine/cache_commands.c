/*
 * Commands about the cache. A URL becomes a key as a request for it would: by the parser, the routes and the key's maker (explain.c). A prefix and a
 * host are cut out of such a key, so that they are spelled as keys are.
 *
 * All purges are in force when they return; they are answered when they would outlive a restart, too. Of a prefix it is not known at first what it concerns: homes are swept in small steps, a few
 * milliseconds apart and each under the home's lock for a short time, until every home has counted it.
 */
#include "engine/cache_commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/disk.h"
#include "engine/explain_report.h"
#include "engine/process.h"
#include "engine/report.h"

#define STEP_MS 2u
#define STEP_OBJECTS 2000u /* of each home in a step */
#define HOLD_OBJECTS 250u  /* of these, under the lock without a break */

static const char no_cache[] = "no route has a cache";

/* Answers -------------------------------------------------------------------------------------------------------- */

static void put_error(const char *why, struct text *text, struct text *json)
{
    text_format(text, "%s\n", why);
    text_add(json, SLICE("{\"error\":"));
    text_json_string(json, slice_of_text(why));
    text_add(json, SLICE("}"));
}

static void refuse(struct server_answer *answer, enum err e, const char *why)
{
    put_error(why, &answer->text, &answer->json);
    answer->result = e;
    answer->done(answer);
}

/* What is meant -------------------------------------------------------------------------------------------------- */

bool purge_kind_of(const char *word, enum purge_kind *kind)
{
    static const char *const words[] = { [PURGE_URL] = "url", [PURGE_PREFIX] = "prefix", [PURGE_HOST] = "host", [PURGE_TAG] = "tag", [PURGE_ALL] = "all" };
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcmp(words[i], word) != 0)
            continue;
        *kind = (enum purge_kind)i;
        return true;
    }
    return false;
}

/* A question that makes no sense is the asker's mistake, as a wrong file is the configuration's. */
static enum err asked_wrongly(enum err e)
{
    return e == ERR_SYNTAX ? ERR_RANGE : e;
}

/* The explanation of a GET whose route has a cache. NULL: why. */
static struct explanation *ask(struct server_process *process, const struct explain_question *asked, enum err *e, char why[256])
{
    char problem[128];
    struct explain_question question = *asked;
    question.homes = process->shared.homes;
    question.disk = process->shared.disk;
    question.now_s = loop_unix_seconds(&process->loop);
    struct explanation *found = explanation_new(process->generation, &question, process->loop.now_ms, loop_random(&process->loop), e, problem);
    if (!found) {
        snprintf(why, 256, "%s", problem);
        return NULL;
    }
    const struct slice *route = found->route ? &found->route->name : NULL;
    *e = ERR_NONE;
    if (found->cache.asked && found->cache.keyed)
        return found;
    if (found->cache.asked)
        snprintf(why, 256, "its key would have more than %u bytes: it is never stored", CACHE_KEY_BYTES_MAX);
    else if (found->end == EXPLAIN_REFUSED && found->why)
        snprintf(why, 256, "a request for it would be refused: %u %s", found->status, found->why);
    else if (route)
        snprintf(why, 256, "the route that takes it, %.*s, has no cache", (int)route->length, route->at);
    else
        snprintf(why, 256, "no route takes it");
    explanation_free(found);
    return NULL;
}

/* The first `lines` parts of a key, without the last one's end. */
static struct slice front_of(struct slice key, unsigned lines)
{
    size_t length = 0;
    for (; lines && length < key.length; length++)
        lines -= key.at[length] == '\n';
    return slice_of(key.at, length && lines == 0 ? length - 1 : length);
}

static struct slice behind(struct slice text, struct slice front)
{
    return text.length > front.length ? slice_of(text.at + front.length + 1, text.length - front.length - 1) : SLICE_NONE;
}

/*
 * The parts of a URL as keys have them, whatever routes say of it: a rule whose key is the path alone makes "scheme LF authority LF path LF...".
 * room: CACHE_KEY_BYTES_MAX bytes. ERR_RANGE: it is no such URL; ERR_MEMORY.
 */
static enum err spell(struct server_process *process, struct slice url, char *room, struct cache_key *key, char why[256])
{
    static const struct cache_rule path_alone = { .on = true };
    struct explain_question question = { .method = SLICE("GET"), .url = url };
    char problem[128];
    enum err e;
    struct explanation *found = explanation_new(process->generation, &question, process->loop.now_ms, 0, &e, problem);
    if (!found) {
        snprintf(why, 256, "%s", problem);
        return asked_wrongly(e);
    }
    struct cache_key_context context = { .scheme = found->forwarding.scheme };
    bool well = found->request.path.length && found->request.query.at == NULL && found->request.authority.length &&
                cache_key_make(&path_alone, &found->request, &context, room, CACHE_KEY_BYTES_MAX, key) == ERR_OK;
    if (!well)
        snprintf(why, 256, "\"%.*s\" is no URL without a query, or too long", (int)size_min(url.length, 160), url.at);
    explanation_free(found);
    return well ? ERR_OK : ERR_RANGE;
}

static enum err spell_host(struct server_process *process, struct slice host, char *room, struct slice *text, char why[256])
{
    struct text url = { 0 };
    struct cache_key key;
    enum err e = ERR_RANGE;
    bool https = host.length > 4 && slice_equal(slice_of(host.at + host.length - 4, 4), SLICE(":443")); /* whose port keys leave out */
    text_format(&url, "%s://%.*s/", https ? "https" : "http", (int)host.length, host.at);
    bool plain = host.length && !memchr(host.at, '/', host.length) && !memchr(host.at, '?', host.length) && !memchr(host.at, '#', host.length);
    if (url.failed)
        e = ERR_MEMORY;
    else if (plain)
        e = spell(process, text_slice(&url), room, &key, why);
    if (e == ERR_OK)
        *text = behind(front_of(key.text, 2), front_of(key.text, 1));
    else if (e == ERR_RANGE)
        snprintf(why, 256, "\"%.*s\" is no host", (int)size_min(host.length, 160), host.at);
    else
        snprintf(why, 256, "out of memory");
    text_release(&url);
    return e;
}

/* Purging -------------------------------------------------------------------------------------------------------- */

/* A purge until it is answered: it may have to be counted, and the disk has to have it. */
struct purge_job {
    struct purge_job *next;
    struct server_process *process;
    struct server_answer *answer;
    struct timer timer;
    struct purge_count count; /* in memory; of a prefix, in the homes that are done */
    struct purge_count on_disk;
    uint32_t left;   /* homes that are not */
    uint32_t writes; /* of the disk, under way; and one more while all are begun */
    bool soft;
    bool lost;       /* a restart may undo it */
    struct purge_place { /* of each home */
        uint64_t sequence;
        bool done;
    } homes[];
};

static void job_free(struct purge_job *job)
{
    struct purge_job **at = &job->process->purges;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    timer_cancel(&job->process->loop.wheel, &job->timer);
    free(job);
}

static void put_count(const struct purge_job *job, struct server_answer *answer)
{
    bool disk = job->process->shared.disk != NULL, known = job->on_disk.objects > 0;
    char bytes[32], disk_bytes[32];
    report_bytes(job->count.bytes, bytes);
    report_bytes(job->on_disk.bytes, disk_bytes);
    text_format(&answer->text, "%s %llu objects, %s", job->soft ? "marked stale:" : "purged:", (unsigned long long)job->count.objects, bytes);
    if (known)
        text_format(&answer->text, "; on the disk %llu, %s", (unsigned long long)job->on_disk.objects, disk_bytes);
    text_add(&answer->text, SLICE("\n"));
    text_format(&answer->json, "{\"objects\":%llu,\"bytes\":%llu,\"soft\":%s", (unsigned long long)job->count.objects, (unsigned long long)job->count.bytes,
                job->soft ? "true" : "false");
    if (disk)
        text_format(&answer->json, ",\"disk_objects\":%llu,\"disk_bytes\":%llu", (unsigned long long)job->on_disk.objects,
                    (unsigned long long)job->on_disk.bytes);
    text_add(&answer->json, SLICE("}"));
}

/* Answers when nothing is left to wait for. */
static void conclude(struct purge_job *job)
{
    struct server_answer *answer = job->answer;
    if (job->left || job->writes)
        return;
    bool lost = job->lost;
    if (!lost)
        put_count(job, answer);
    job_free(job);
    if (lost) {
        refuse(answer, ERR_SYSTEM, "it is purged, but a restart may undo that: the cache's disk failed and its files cannot be removed, or too much waits for it");
        return;
    }
    answer->result = ERR_OK;
    answer->done(answer);
}

static struct purge_job *job_new(struct server_process *process, struct server_answer *answer, bool soft)
{
    struct homes *homes = process->shared.homes;
    struct purge_job *job = FAULT("purge") ? NULL : calloc(1, sizeof *job + homes->count * sizeof job->homes[0]);
    if (!job) {
        refuse(answer, ERR_MEMORY, "out of memory");
        return NULL;
    }
    *job = (struct purge_job){ .next = process->purges, .process = process, .answer = answer, .writes = 1, .soft = soft };
    process->purges = job;
    return job;
}

/* All of it is begun. */
static void job_begun(struct purge_job *job)
{
    job->writes--;
    conclude(job);
}

static void is_written(void *argument, bool kept)
{
    struct purge_job *job = argument;
    job->lost |= !kept;
    job->writes--;
    conclude(job);
}

/* Around what is done in memory: see disk.h. */
static void begin_on_disk(struct purge_job *job, const struct purge *purge)
{
    if (job->process->shared.disk)
        disk_purge_begin(job->process->shared.disk, purge, &job->on_disk);
}

static void finish_on_disk(struct purge_job *job, const struct purge *purge)
{
    struct purge_count again = { 0 };
    if (!job->process->shared.disk)
        return;
    job->writes++;
    disk_purge_finish(job->process->shared.disk, &job->process->loop, purge, &again, is_written, job);
}

/* The lock is let go now and then, for the workers' sake. */
static void sweep_home(struct home *home, struct purge_place *place, struct purge_job *job)
{
    bool more = true;
    for (uint32_t seen = 0; more && !place->done && seen < STEP_OBJECTS; seen += HOLD_OBJECTS) {
        struct purge_count count = { 0 };
        struct cache *cache = home_enter(home);
        more = cache_sweep(cache, HOLD_OBJECTS);
        place->done = cache_swept(cache, place->sequence, &count);
        home_leave(home);
        if (!place->done)
            continue;
        job->left--;
        job->count.objects += count.objects;
        job->count.bytes += count.bytes;
    }
}

static void step(struct timer *timer, uint64_t now_ms)
{
    struct purge_job *job = CONTAINER_OF(timer, struct purge_job, timer);
    struct homes *homes = job->process->shared.homes;
    for (uint32_t i = 0; i < homes->count; i++)
        sweep_home(&homes->list[i], &job->homes[i], job);
    if (job->left)
        timer_set(&job->process->loop.wheel, timer, now_ms + STEP_MS);
    else
        conclude(job);
}

/* As homes_purge does, but each home's number of this very purge is remembered. */
static void purge_prefix(struct purge_job *job, const struct purge *purge)
{
    struct homes *homes = job->process->shared.homes;
    job->timer.fire = step;
    job->left = homes->count;
    begin_on_disk(job, purge);
    for (uint32_t i = 0; i < homes->count; i++) {
        struct purge_count ignored = { 0 };
        struct cache *cache = home_enter(&homes->list[i]);
        cache_purge(cache, purge, &ignored);
        job->homes[i].sequence = cache_sequence(cache);
        home_leave(&homes->list[i]);
    }
    atomic_fetch_add(&homes->purges, 1);
    finish_on_disk(job, purge);
    step(&job->timer, job->process->loop.now_ms);
}

static void purge_now(struct purge_job *job, const struct purge *purge)
{
    struct homes *homes = job->process->shared.homes;
    struct purge_count count = { 0 };
    begin_on_disk(job, purge);
    if (purge->kind == PURGE_URL)
        homes_purge_url(homes, purge, &count);
    else
        homes_purge(homes, purge, &count);
    finish_on_disk(job, purge);
    job->count.objects += count.objects;
    job->count.bytes += count.bytes;
}

/* A URL that no route with a cache takes may be one that the forward proxy stored. False: it has no cache, or this is no URL. */
static bool spell_for_forward(struct server_process *process, struct slice url, char *room, struct cache_key *key)
{
    const struct cache_rule *rule = &process->generation->config->forward.route.cache;
    struct explain_question question = { .method = SLICE("GET"), .url = url };
    char problem[128];
    enum err e;
    struct explanation *found =
        rule->on ? explanation_new(process->generation, &question, process->loop.now_ms, 0, &e, problem) : NULL;
    if (!found)
        return false;
    struct cache_key_context context = { .scheme = found->forwarding.scheme };
    bool well = found->request.path.length && found->request.authority.length &&
                cache_key_make(rule, &found->request, &context, room, CACHE_KEY_BYTES_MAX, key) == ERR_OK;
    explanation_free(found);
    return well;
}

static void purge_url(struct server_process *process, const struct purge_question *asked, struct server_answer *answer)
{
    struct cache_key key;
    char room[CACHE_KEY_BYTES_MAX];
    struct explain_question question = { .method = SLICE("GET"), .url = asked->texts[0], .field_count = asked->text_count - 1 };
    char why[256];
    enum err e;
    for (unsigned i = 0; i < question.field_count; i++)
        question.fields[i] = asked->texts[i + 1];
    struct explanation *found = ask(process, &question, &e, why);
    if (!found && !spell_for_forward(process, asked->texts[0], room, &key)) {
        refuse(answer, asked_wrongly(e), why);
        return;
    }
    if (found)
        key = found->cache.key;
    struct purge purge = { .kind = PURGE_URL, .soft = asked->soft, .text = slice_of(key.text.at, key.url_length) };
    struct purge_job *job = job_new(process, answer, asked->soft);
    if (job)
        purge_now(job, &purge);
    if (found)
        explanation_free(found);
    if (job)
        job_begun(job);
}

static void purge_place_named(struct server_process *process, const struct purge_question *asked, struct server_answer *answer)
{
    struct purge purge = { .kind = asked->kind, .soft = asked->soft };
    struct cache_key key;
    char room[CACHE_KEY_BYTES_MAX], why[256];
    bool host = asked->kind == PURGE_HOST;
    enum err e = host ? spell_host(process, asked->texts[0], room, &purge.text, why) : spell(process, asked->texts[0], room, &key, why);
    if (e != ERR_OK) {
        refuse(answer, e, why);
        return;
    }
    struct purge_job *job = job_new(process, answer, asked->soft);
    if (!job)
        return;
    if (host)
        purge_now(job, &purge);
    else {
        purge.text = front_of(key.text, 3);
        purge_prefix(job, &purge);
    }
    job_begun(job);
}

static void purge_tags_or_all(struct server_process *process, const struct purge_question *asked, struct server_answer *answer)
{
    struct purge purge = { .kind = asked->kind, .soft = asked->soft };
    struct purge_job *job = job_new(process, answer, asked->soft);
    if (!job)
        return;
    if (asked->kind == PURGE_ALL)
        purge_now(job, &purge);
    for (unsigned i = 0; asked->kind == PURGE_TAG && i < asked->text_count; i++) {
        purge.text = asked->texts[i];
        purge_now(job, &purge);
    }
    job_begun(job);
}

void purge_begin(struct server_process *process, const struct purge_question *asked, struct server_answer *answer)
{
    if (!process->shared.homes) {
        refuse(answer, ERR_NONE, no_cache);
        return;
    }
    switch (asked->kind) {
    case PURGE_URL: purge_url(process, asked, answer); return;
    case PURGE_PREFIX:
    case PURGE_HOST: purge_place_named(process, asked, answer); return;
    case PURGE_TAG:
    case PURGE_ALL: purge_tags_or_all(process, asked, answer); return;
    }
}

void purges_end(struct server_process *process)
{
    while (process->purges) {
        struct server_answer *answer = process->purges->answer;
        job_free(process->purges);
        refuse(answer, ERR_AGAIN, "the engine is stopping; the purge is in force, but not all is counted");
    }
}

/* Seeing --------------------------------------------------------------------------------------------------------- */

static void route_line(struct slice name, uint64_t hits, uint64_t misses, uint64_t passed, uint64_t stale, struct text *text)
{
    text_format(text, "%-24.*s %10llu %10llu %10llu %10llu %8.1f\n", (int)name.length, name.at, (unsigned long long)hits, (unsigned long long)misses,
                (unsigned long long)passed, (unsigned long long)stale, report_hit_ratio(hits, misses, passed));
}

static void route_json(const struct route_view *route, const char *comma, struct text *json)
{
    text_format(json, "%s{\"route\":", comma);
    text_json_string(json, route->name);
#define ROUTE_COUNTER_AS_JSON(name, help) text_format(json, ",\"" #name "\":%llu", (unsigned long long)counter_get(&route->counters.name));
    ROUTE_COUNTER_ROWS(ROUTE_COUNTER_AS_JSON)
    text_add(json, SLICE("}"));
}

static void disk_totals(const struct disk_view *disk, struct text *text)
{
    char used[32], most[32], written[32], read[32];
    report_bytes(disk->bytes, used);
    report_bytes(disk->bytes_max, most);
    report_bytes(disk->write_bytes, written);
    report_bytes(disk->read_bytes, read);
    text_format(text, "disk      %llu objects, %s of %s; %llu were found at the start; %llu of %llu volumes given up\n", (unsigned long long)disk->objects, used, most,
                (unsigned long long)disk->restored, (unsigned long long)disk->volumes_off, (unsigned long long)disk->volumes);
    text_format(text, "          %llu of %llu reads found their object (%s), %llu took too long, %llu were not begun; %llu objects written (%s), %llu dropped, %llu errors\n",
                (unsigned long long)disk->loaded, (unsigned long long)disk->loads, read, (unsigned long long)disk->slow, (unsigned long long)disk->busy,
                (unsigned long long)disk->written, written, (unsigned long long)disk->dropped, (unsigned long long)disk->failed);
}

static void disk_json(const struct disk_view *disk, struct text *json)
{
    const char *before = "{";
    if (!disk->there) {
        text_add(json, SLICE("null"));
        return;
    }
#define DISK_AS_JSON(name, help)                                                              \
    text_format(json, "%s\"" #name "\":%llu", before, (unsigned long long)disk->name);        \
    before = ",";
    DISK_GAUGE_ROWS(DISK_AS_JSON)
    DISK_COUNT_ROWS(DISK_AS_JSON)
    text_add(json, SLICE("}"));
}

static void totals(const struct stats_view *view, struct text *text)
{
    const struct worker_stats *total = &view->total;
    const struct cache_view *cache = &view->cache;
    char used[32], most[32], evicted[32], sent[32];
    report_bytes(cache->bytes, used);
    report_bytes(cache->bytes_max, most);
    report_bytes(cache->evicted_bytes, evicted);
    report_bytes(counter_get(&total->cache_hit_bytes), sent);
    text_format(text, "memory    %s of %s, in %u homes\n", used, most, cache->homes);
    text_format(text, "objects   %llu; %llu requests to origins that others may wait for\n", (unsigned long long)cache->objects,
                (unsigned long long)cache->flights);
    text_format(text, "stored    %llu; %llu not for want of room, %llu made room (%s), %llu purged\n", (unsigned long long)counter_get(&total->cache_stored),
                (unsigned long long)counter_get(&total->cache_refused), (unsigned long long)cache->evicted, evicted, (unsigned long long)cache->purged);
    if (view->disk.there)
        disk_totals(&view->disk, text);
    text_format(text, "sent      %s from the cache; %llu requests waited for another's response, %llu renewals beside, %llu confirmed by origins\n\n", sent,
                (unsigned long long)counter_get(&total->cache_collapsed), (unsigned long long)counter_get(&total->cache_background),
                (unsigned long long)counter_get(&total->cache_validated));
}

void cache_status(const struct stats_view *view, struct text *text, struct text *json)
{
    const struct worker_stats *total = &view->total;
    totals(view, text);
    text_format(text, "%-24s %10s %10s %10s %10s %8s\n", "route", "hits", "misses", "passed", "stale", "hits %");
    for (uint32_t i = 0; i < view->route_count; i++) {
        const struct route_counters *counters = &view->routes[i].counters;
        route_line(view->routes[i].name, counter_get(&counters->hits), counter_get(&counters->misses), counter_get(&counters->passed),
                   counter_get(&counters->stale), text);
    }
    route_line(SLICE("all since the start"), counter_get(&total->cache_hits), counter_get(&total->cache_misses), counter_get(&total->cache_passed),
               counter_get(&total->cache_stale), text);
    text_format(json, "{\"homes\":%u", view->cache.homes);
#define CACHE_AS_JSON(name, kind, help) text_format(json, ",\"" #name "\":%llu", (unsigned long long)view->cache.name);
    CACHE_ROWS(CACHE_AS_JSON)
#define TOTAL_AS_JSON(name) text_format(json, ",\"" #name "\":%llu", (unsigned long long)counter_get(&total->cache_##name));
    TOTAL_AS_JSON(hits)
    TOTAL_AS_JSON(misses)
    TOTAL_AS_JSON(passed)
    TOTAL_AS_JSON(stale)
    TOTAL_AS_JSON(validated)
    TOTAL_AS_JSON(collapsed)
    TOTAL_AS_JSON(stored)
    TOTAL_AS_JSON(refused)
    TOTAL_AS_JSON(hit_bytes)
    TOTAL_AS_JSON(background)
    text_add(json, SLICE(",\"disk\":"));
    disk_json(&view->disk, json);
    text_add(json, SLICE(",\"routes\":["));
    for (uint32_t i = 0; i < view->route_count; i++)
        route_json(&view->routes[i], i ? "," : "", json);
    text_add(json, SLICE("]}"));
}

static void show_text(const struct explanation *found, struct text *text)
{
    const struct explained_cache *cache = &found->cache;
    text_format(text, "route     %.*s\nkey       ", (int)found->route->name.length, found->route->name.at);
    explain_put_key(cache->key.text, text);
    text_format(text, "\nhome      %u\n", cache->home->number);
    if (cache->total == 0)
        text_add(text, SLICE("stored    nothing\n"));
    for (uint32_t i = 0; i < cache->count; i++) {
        text_add(text, i ? SLICE("          ") : SLICE("stored    "));
        explain_object_text(found, cache->objects[i], "            ", text);
        if (!slice_equal(cache->objects[i]->key, cache->key.text)) {
            text_add(text, SLICE("            under the key "));
            explain_put_key(cache->objects[i]->key, text);
            text_add(text, SLICE("\n"));
        }
    }
    if (cache->total > cache->count)
        text_format(text, "          ... and %u more\n", cache->total - cache->count);
    if (found->disk)
        text_format(text, "disk      %s\n", cache->on_disk ? "something under this key, probably" : "nothing");
    text_add(text, SLICE("now       "));
    explain_put_use(found, text);
    text_add(text, SLICE("\n"));
}

enum err cache_show(struct server_process *process, const struct explain_question *question, struct text *text, struct text *json, char why[256])
{
    enum err e = ERR_NONE;
    snprintf(why, 256, "%s", no_cache);
    struct explanation *found = process->shared.homes ? ask(process, question, &e, why) : NULL;
    if (!found)
        return e;
    show_text(found, text);
    text_add(json, SLICE("{\"route\":"));
    text_json_string(json, found->route->name);
    text_add(json, SLICE(",\"cache\":"));
    explain_cache_json(found, json);
    text_add(json, SLICE("}"));
    explanation_free(found);
    return ERR_OK;
}
