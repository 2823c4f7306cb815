#include "engine/resolver_ask.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/resolver_answer.h"
#include "engine/resolver_channel.h"

struct asker {
    struct dns_channel channel;
    enum dns_family family;
    struct question *first, **tail; /* the line */
    uint32_t asking, count;
    bool pumping, stopped;
};

static void pump(struct asker *asker);

static void stand_in_line(struct asker *asker, struct question *question)
{
    question->next = NULL;
    *asker->tail = question;
    asker->tail = &question->next;
}

static void answer(struct question *question, enum asked verdict)
{
    question->verdict = verdict;
    question->answered(question);
}

static enum asked verdict_of(int status)
{
    switch (status) {
    case ARES_SUCCESS: return ASKED_FOUND;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_EBADNAME: return ASKED_NONE;
    case ARES_ENOMEM: return ASKED_BUSY;
    default: return ASKED_FAILED;
    }
}

static void take_addresses(struct question *question, const struct ares_addrinfo *info, int *status)
{
    struct name_answer found = { 0 };
    if (!answer_of_addresses(info, question->asker->family, &found, &question->ttl_s))
        *status = ARES_ENOMEM;
    else if (found.address_count == 0)
        *status = ARES_ENODATA;
    question->address_count = found.address_count;
    if (found.address_count)
        memcpy(question->addresses, found.addresses, found.address_count * sizeof *found.addresses);
    answer_release(&found);
}

/* From inside c-ares: whoever waits for a place is asked when it has returned (moved). */
static void came(void *data, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct question *question = data;
    struct asker *asker = question->asker;
    asker->asking--;
    if (status == ARES_EDESTRUCTION && !asker->stopped) { /* nobody has answered: asked again by the new channel */
        stand_in_line(asker, question);
        return;
    }
    asker->count--;
    if (status == ARES_SUCCESS)
        take_addresses(question, info, &status);
    if (info)
        ares_freeaddrinfo(info);
    answer(question, verdict_of(status));
}

static void ask(struct asker *asker, struct question *question)
{
    static const int families[] = { [DNS_ANY] = AF_UNSPEC, [DNS_IPV4] = AF_INET, [DNS_IPV6] = AF_INET6 };
    struct ares_addrinfo_hints hints = { .ai_family = families[asker->family],
                                         .ai_socktype = SOCK_STREAM,
                                         .ai_flags = ARES_AI_NOSORT };
    bool late = asker->channel.loop->now_ms >= question->due_ms;
    if (late || !dns_channel_open(&asker->channel)) {
        asker->count--;
        answer(question, late ? ASKED_FAILED : ASKED_BUSY);
        return;
    }
    asker->asking++;
    ares_getaddrinfo(asker->channel.ares, question->name, NULL, &hints, came, question);
}

static void pump(struct asker *asker)
{
    if (asker->pumping || asker->stopped)
        return;
    asker->pumping = true;
    while (asker->first && asker->asking < ASKED_AT_ONCE) {
        struct question *question = asker->first;
        asker->first = question->next;
        if (!asker->first)
            asker->tail = &asker->first;
        ask(asker, question);
    }
    asker->pumping = false;
    dns_channel_wait(&asker->channel);
}

static void moved(struct dns_channel *channel)
{
    pump(CONTAINER_OF(channel, struct asker, channel));
}

void asker_ask(struct asker *asker, struct question *question)
{
    question->asker = asker;
    question->address_count = question->ttl_s = 0;
    if (asker->stopped || asker->count >= ASKED_MAX) {
        answer(question, asker->stopped ? ASKED_FAILED : ASKED_BUSY);
        return;
    }
    asker->count++;
    stand_in_line(asker, question);
    pump(asker);
}

void asker_configure(struct asker *asker, const struct config_dns *dns)
{
    asker->family = dns->family;
    dns_channel_configure(&asker->channel, dns);
    pump(asker);
}

struct asker *asker_new(struct loop *loop, const struct config_dns *dns)
{
    struct asker *asker = FAULT("asker") ? NULL : calloc(1, sizeof *asker);
    if (!asker)
        return NULL;
    asker->tail = &asker->first;
    dns_channel_init(&asker->channel, loop, false, moved);
    asker_configure(asker, dns);
    return asker;
}

void asker_stop(struct asker *asker)
{
    struct question *question;
    asker->stopped = true;
    while ((question = asker->first)) {
        asker->first = question->next;
        asker->count--;
        answer(question, ASKED_FAILED);
    }
    asker->tail = &asker->first;
    dns_channel_end(&asker->channel);
}

void asker_free(struct asker *asker)
{
    free(asker);
}
