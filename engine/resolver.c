#include "engine/resolver.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/map.h"
#include "engine/log.h"
#include "engine/resolver_answer.h"
#include "engine/resolver_channel.h"

#define QUESTIONS_MAX 64u /* at once; c-ares would ask them all */
#define AGAIN_MS 5000u /* names that there was no memory for */
#define BACKOFF_MS_MIN 1000u
#define BACKOFF_MS_MAX 30000u
#define DNS_CLASS_IN 1
#define DNS_TYPE_SRV 33

struct name {
    struct name *next, *next_due; /* all; those that wait for a place among the QUESTIONS_MAX */
    struct resolver *resolver;
    struct slice text; /* own memory: "app.example.com", "srv:_http._tcp.example.com" */
    struct name_answer answer;
    struct timer timer; /* to look it up again */
    uint64_t gone_ms;   /* DNS first said so; 0: it has not */
    uint32_t failures;  /* in a row */
    bool wanted, asking, waiting;
    bool told;   /* first answer or failure is there */
    bool orphan; /* not wanted any more, and a question is out */
};

struct resolver {
    struct loop *loop;
    struct resolver_events events;
    struct dns_channel channel;
    struct config_dns dns; /* numbers only */
    struct map names;
    struct name *first;
    struct name *due_first, **due_tail;
    uint32_t asking;
    struct timer telling;
    struct timer again;
    bool changed;
    bool ending;
};

static void pump(struct resolver *resolver);
static void tell_later(struct resolver *resolver);

/* Answers ------------------------------------------------------------------------------------------------------ */

static struct name *name_for(struct resolver *resolver, struct slice text);

/* Hosts that an SRV record names are names, too. */
static void want_targets(struct resolver *resolver, const struct name_answer *answer)
{
    for (uint32_t i = 0; i < answer->target_count; i++) {
        struct name *name = name_for(resolver, slice_of_text(answer->targets[i].host));
        if (name)
            name->wanted = true;
    }
}

static void log_answer(const struct name *name)
{
    const struct name_answer *answer = &name->answer;
    char list[256] = "";
    size_t length = 0;
    for (uint32_t i = 0; i < answer->address_count && length < 180; i++) {
        char host[INET6_ADDRSTRLEN];
        inet_ntop(answer->addresses[i].family == 4 ? AF_INET : AF_INET6, answer->addresses[i].bytes, host, sizeof host);
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%s", i ? ", " : ": ", host);
    }
    for (uint32_t i = 0; i < answer->target_count && length < 100; i++)
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%.100s", i ? ", " : ": ", answer->targets[i].host);
    uint32_t count = answer->target_count ? answer->target_count : answer->address_count;
    log_line(LOG_NOTICE, "name \"%.*s\" has %u %s%s%s", (int)name->text.length, name->text.at, count, answer->target_count ? "target" : "address",
             count == 1 ? "" : answer->target_count ? "s" : "es", list);
}

static void plan(struct name *name, uint64_t after_ms)
{
    struct resolver *resolver = name->resolver;
    timer_cancel(&resolver->loop->wheel, &name->timer);
    timer_set(&resolver->loop->wheel, &name->timer, resolver->loop->now_ms + after_ms);
}

/* Takes the answer over. */
static void take_answer(struct name *name, struct name_answer *answer)
{
    struct resolver *resolver = name->resolver;
    bool same = answer_equal(&name->answer, answer);
    answer_release(same ? answer : &name->answer);
    if (same)
        return;
    name->answer = *answer;
    *answer = (struct name_answer){ 0 };
    resolver->changed = true;
    want_targets(resolver, &name->answer);
    log_answer(name);
}

static void question_over(struct name *name)
{
    struct resolver *resolver = name->resolver;
    name->asking = false;
    name->told = true;
    resolver->asking--;
    tell_later(resolver);
}

static void free_name(struct name *name)
{
    answer_release(&name->answer);
    free((char *)(uintptr_t)name->text.at);
    free(name);
}

/* True when nobody waits for what has come. */
static bool came_too_late(struct name *name)
{
    if (!name->orphan)
        return false;
    name->resolver->asking--;
    free_name(name);
    return true;
}

static void succeeded(struct name *name, struct name_answer *answer, uint32_t ttl_s)
{
    const struct config_dns *dns = &name->resolver->dns;
    uint64_t life_ms = u64_min(u64_max((uint64_t)ttl_s * 1000, dns->ttl_min_ms), dns->ttl_max_ms);
    if (name->failures)
        log_line(LOG_NOTICE, "name \"%.*s\" is answered again", (int)name->text.length, name->text.at);
    name->failures = 0;
    name->gone_ms = 0;
    take_answer(name, answer);
    question_over(name);
    plan(name, life_ms * 7 / 10 + loop_random(name->resolver->loop) % (life_ms / 5 + 1));
}

/* There is no such name, or it has nothing of what was asked for. */
static bool says_gone(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ENODATA;
}

static bool is_over(struct name *name)
{
    uint32_t keep_ms = name->resolver->dns.keep_stale_ms;
    uint64_t now_ms = name->resolver->loop->now_ms;
    if (name->gone_ms == 0)
        name->gone_ms = now_ms;
    return keep_ms && now_ms - name->gone_ms >= keep_ms;
}

static void failed(struct name *name, int status)
{
    struct resolver *resolver = name->resolver;
    if (status == ARES_EDESTRUCTION) { /* nobody has answered: asked again with the new channel */
        name->asking = false;
        resolver->asking--;
        return;
    }
    struct name_answer none = { 0 };
    bool known = name->answer.address_count || name->answer.target_count;
    if (says_gone(status) && is_over(name))
        take_answer(name, &none);
    if (name->failures++ == 0)
        log_line(LOG_WARN, "name \"%.*s\" does not resolve: %s%s", (int)name->text.length, name->text.at, ares_strerror(status),
                 known ? "; the last answer is used" : "");
    question_over(name);
    uint32_t doublings = name->failures - 1 < 6 ? name->failures - 1 : 6;
    uint64_t wait_ms = u64_min((uint64_t)BACKOFF_MS_MIN << doublings, BACKOFF_MS_MAX);
    if (says_gone(status)) /* an answer, if no good one: asked again as the usual ones are, within limits */
        wait_ms = u64_min(u64_max(resolver->dns.ttl_min_ms, BACKOFF_MS_MIN), BACKOFF_MS_MAX);
    plan(name, wait_ms - wait_ms / 10 + loop_random(resolver->loop) % (wait_ms / 5 + 1));
}

static void addresses_done(void *data, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct name *name = data;
    struct name_answer answer = { 0 };
    uint32_t ttl_s = 0;
    if (!came_too_late(name)) {
        bool read = status == ARES_SUCCESS && answer_of_addresses(info, name->resolver->dns.family, &answer, &ttl_s);
        if (read && answer.address_count)
            succeeded(name, &answer, ttl_s);
        else
            failed(name, status != ARES_SUCCESS ? status : read ? ARES_ENODATA : ARES_ENOMEM);
        answer_release(&answer);
    }
    if (info)
        ares_freeaddrinfo(info);
}

static void targets_done(void *data, int status, int timeouts, unsigned char *message, int length)
{
    (void)timeouts;
    struct name *name = data;
    struct name_answer answer = { 0 };
    uint32_t ttl_s = 0;
    if (came_too_late(name))
        return;
    if (status == ARES_SUCCESS)
        status = answer_of_service(message, length, &answer, &ttl_s);
    if (status == ARES_SUCCESS)
        succeeded(name, &answer, ttl_s);
    else
        failed(name, status);
    answer_release(&answer);
}

/* Asking ------------------------------------------------------------------------------------------------------- */

static void ask(struct name *name)
{
    struct resolver *resolver = name->resolver;
    static const int families[] = { [DNS_ANY] = AF_UNSPEC, [DNS_IPV4] = AF_INET, [DNS_IPV6] = AF_INET6 };
    name->asking = true;
    resolver->asking++;
    if (!dns_channel_open(&resolver->channel)) {
        failed(name, ARES_ENOMEM);
        return;
    }
    if (slice_starts(name->text, SLICE("srv:"))) {
        ares_search(resolver->channel.ares, name->text.at + 4, DNS_CLASS_IN, DNS_TYPE_SRV, targets_done, name);
        return;
    }
    struct ares_addrinfo_hints hints = { .ai_family = families[resolver->dns.family], .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT };
    ares_getaddrinfo(resolver->channel.ares, name->text.at, NULL, &hints, addresses_done, name);
}

/* Asks whoever waits, while there are places; and c-ares when it wants to be woken. */
static void pump(struct resolver *resolver)
{
    while (resolver->due_first && resolver->asking < QUESTIONS_MAX) {
        struct name *name = resolver->due_first;
        resolver->due_first = name->next_due;
        if (!resolver->due_first)
            resolver->due_tail = &resolver->due_first;
        name->waiting = false;
        ask(name);
    }
    dns_channel_wait(&resolver->channel);
}

static void make_due(struct name *name)
{
    struct resolver *resolver = name->resolver;
    if (name->waiting || name->asking)
        return;
    timer_cancel(&resolver->loop->wheel, &name->timer);
    name->waiting = true;
    name->next_due = NULL;
    *resolver->due_tail = name;
    resolver->due_tail = &name->next_due;
}

static void moved(struct dns_channel *channel)
{
    pump(CONTAINER_OF(channel, struct resolver, channel));
}

static void due(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct name *name = CONTAINER_OF(timer, struct name, timer);
    make_due(name);
    pump(name->resolver);
}

/* Names -------------------------------------------------------------------------------------------------------- */

static struct name *name_for(struct resolver *resolver, struct slice text)
{
    struct name *name = map_find(&resolver->names, text);
    if (name)
        return name;
    name = FAULT("resolver") ? NULL : calloc(1, sizeof *name);
    char *copy = name ? strndup(text.at, text.length) : NULL;
    enum err e = copy ? map_add(&resolver->names, slice_of(copy, text.length), name) : ERR_MEMORY;
    if (e != ERR_OK) {
        log_line(LOG_ERROR, "name \"%.*s\" is not looked up: %s, there are %u names", (int)text.length, text.at, err_text(e), resolver->names.count);
        if (e == ERR_MEMORY)
            timer_set(&resolver->loop->wheel, &resolver->again, resolver->loop->now_ms + AGAIN_MS);
        free(copy);
        free(name);
        return NULL;
    }
    name->text = slice_of(copy, text.length);
    name->resolver = resolver;
    name->timer.fire = due;
    name->next = resolver->first;
    resolver->first = name;
    make_due(name);
    return name;
}

static void leave_line(struct name *name)
{
    struct resolver *resolver = name->resolver;
    struct name **at = &resolver->due_first;
    if (!name->waiting)
        return;
    while (*at != name)
        at = &(*at)->next_due;
    *at = name->next_due;
    if (resolver->due_tail == &name->next_due)
        resolver->due_tail = at;
}

static void sweep(struct resolver *resolver)
{
    for (struct name **at = &resolver->first; *at;) {
        struct name *name = *at;
        if (name->wanted) {
            at = &name->next;
            continue;
        }
        *at = name->next;
        leave_line(name);
        timer_cancel(&resolver->loop->wheel, &name->timer);
        map_remove(&resolver->names, name->text);
        if (name->asking)
            name->orphan = true;
        else
            free_name(name);
    }
}

static void want(void *context, struct slice text)
{
    struct resolver *resolver = context;
    struct name *name = name_for(resolver, text);
    if (name && !name->wanted) {
        name->wanted = true;
        want_targets(resolver, &name->answer);
    }
}

void resolver_want(struct resolver *resolver, const struct config *config, const struct config *candidate, const struct overlay *overlay)
{
    for (struct name *name = resolver->first; name; name = name->next)
        name->wanted = false;
    if (config)
        expansion_names(config, overlay, want, resolver);
    if (candidate)
        expansion_names(candidate, overlay, want, resolver);
    sweep(resolver);
    pump(resolver);
}

bool resolver_settled(const struct resolver *resolver)
{
    for (const struct name *name = resolver->first; name; name = name->next)
        if (!name->told)
            return false;
    return true;
}

static const struct name_answer *find(const struct name_lookup *lookup, struct slice text)
{
    const struct resolver *resolver = lookup->owner;
    const struct name *name = map_find(&resolver->names, text);
    return name ? &name->answer : NULL;
}

struct name_lookup resolver_lookup(struct resolver *resolver)
{
    return (struct name_lookup){ find, resolver };
}

/* Telling ------------------------------------------------------------------------------------------------------ */

/* From the loop and not from inside c-ares, which is not to be asked anything there. */
static void tell(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct resolver *resolver = CONTAINER_OF(timer, struct resolver, telling);
    bool changed = resolver->changed;
    pump(resolver); /* hosts that an SRV record brought */
    resolver->changed = false;
    if (changed)
        resolver->events.changed(resolver->events.owner);
    if (resolver_settled(resolver))
        resolver->events.settled(resolver->events.owner);
}

/* Whoever is told of a change says anew what is wanted. */
static void try_again(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct resolver *resolver = CONTAINER_OF(timer, struct resolver, again);
    resolver->events.changed(resolver->events.owner);
}

static void tell_later(struct resolver *resolver)
{
    if (!resolver->ending)
        timer_set(&resolver->loop->wheel, &resolver->telling, resolver->loop->now_ms);
}

/* Life --------------------------------------------------------------------------------------------------------- */

void resolver_configure(struct resolver *resolver, const struct config_dns *dns)
{
    bool again = dns_channel_configure(&resolver->channel, dns);
    resolver->dns = *dns;
    resolver->dns.servers = NULL;
    if (!again)
        return;
    for (struct name *name = resolver->first; name; name = name->next)
        make_due(name);
    pump(resolver);
}

enum err resolver_new(struct resolver **made, struct loop *loop, const struct resolver_events *events)
{
    struct resolver *resolver = FAULT("resolver") ? NULL : calloc(1, sizeof *resolver);
    *made = resolver;
    if (!resolver)
        return ERR_MEMORY;
    resolver->loop = loop;
    resolver->events = *events;
    resolver->due_tail = &resolver->due_first;
    dns_channel_init(&resolver->channel, loop, true, moved);
    resolver->telling.fire = tell;
    resolver->again.fire = try_again;
    map_init(&resolver->names, NAMES_MAX, loop_random(loop), loop_random(loop));
    return ERR_OK;
}

void resolver_free(struct resolver *resolver)
{
    resolver->ending = true;
    dns_channel_end(&resolver->channel);
    for (struct name *next, *name = resolver->first; name; name = next) {
        next = name->next;
        timer_cancel(&resolver->loop->wheel, &name->timer);
        free_name(name);
    }
    timer_cancel(&resolver->loop->wheel, &resolver->telling);
    timer_cancel(&resolver->loop->wheel, &resolver->again);
    map_release(&resolver->names);
    free(resolver);
}
