#include "engine/names.h"

#include <stdlib.h>

#include "engine/forward.h"
#include "engine/process.h"
#include "engine/resolver_ask.h"

struct asked_name;

struct known_name {
    struct known_name *newer, *older; /* by use; only of those that are not asked for */
    struct asked_name *asked;         /* the question that is out; NULL: none */
    struct wait *waits;
    enum name_state state;
    uint64_t expires_ms;
    uint64_t busy_turn; /* of the loop, for which NAME_BUSY holds */
    uint64_t ttl_min_ms, ttl_max_ms;
    struct name_address *addresses; /* own memory */
    uint32_t count;
    uint16_t length;
    char text[256];
};

/* A question on its way to the control thread and back. */
struct asked_name {
    struct letter letter;
    struct worker *worker;
    struct known_name *name;
    struct question question;
};

struct names {
    struct worker *worker;
    struct map map;
    struct known_name *newest, *oldest;
    uint32_t asked;
};

/* By use ------------------------------------------------------------------------------------------------------- */

static void unlink_name(struct names *names, struct known_name *name)
{
    *(name->newer ? &name->newer->older : &names->newest) = name->older;
    *(name->older ? &name->older->newer : &names->oldest) = name->newer;
    name->newer = name->older = NULL;
}

static void link_name(struct names *names, struct known_name *name)
{
    name->older = names->newest;
    name->newer = NULL;
    *(names->newest ? &names->newest->newer : &names->oldest) = name;
    names->newest = name;
}

static void free_name(struct known_name *name)
{
    free(name->addresses);
    free(name);
}

static struct known_name *name_new(struct names *names, struct slice text)
{
    while (names->map.count >= NAMES_KEPT && names->oldest) {
        struct known_name *oldest = names->oldest;
        unlink_name(names, oldest);
        map_remove(&names->map, slice_of(oldest->text, oldest->length));
        free_name(oldest);
    }
    struct known_name *name = FAULT("names") ? NULL : calloc(1, sizeof *name);
    if (!name)
        return NULL;
    memcpy(name->text, text.at, text.length);
    name->length = (uint16_t)text.length;
    if (map_add(&names->map, slice_of(name->text, name->length), name) != ERR_OK) {
        free(name);
        return NULL;
    }
    link_name(names, name);
    return name;
}

/* Answers ------------------------------------------------------------------------------------------------------ */

static uint64_t life_of(const struct known_name *name, uint32_t ttl_s)
{
    return u64_min(u64_max((uint64_t)ttl_s * 1000, name->ttl_min_ms), name->ttl_max_ms);
}

static void take_answer(struct known_name *name, const struct question *question, uint64_t now_ms, uint64_t turn)
{
    static const struct {
        enum name_state state;
        uint32_t ms;
    } verdicts[] = { [ASKED_FOUND] = { NAME_FOUND, 0 },
                     [ASKED_NONE] = { NAME_NONE, NAMES_NONE_MS },
                     [ASKED_FAILED] = { NAME_FAILED, NAMES_FAILED_MS },
                     [ASKED_BUSY] = { NAME_BUSY, 0 } };
    size_t bytes = question->address_count * sizeof *name->addresses;
    free(name->addresses);
    name->addresses = NULL;
    name->count = 0;
    name->state = verdicts[question->verdict].state;
    name->busy_turn = turn;
    name->expires_ms =
        now_ms + (name->state == NAME_FOUND ? life_of(name, question->ttl_s) : verdicts[question->verdict].ms);
    if (name->state != NAME_FOUND)
        return;
    name->addresses = FAULT("names") ? NULL : malloc(bytes);
    if (!name->addresses) {
        name->state = NAME_BUSY;
        return;
    }
    memcpy(name->addresses, question->addresses, bytes);
    name->count = question->address_count;
}

/* Whoever is told may ask for so many others that this name is forgotten. */
static void tell(struct known_name *name)
{
    struct wait *waits;
    waits_take(&name->waits, &waits);
    while (waits) {
        struct name_wait *wait = CONTAINER_OF(waits, struct name_wait, wait);
        names_leave(wait);
        wait->told(wait);
    }
}

static void came_back(struct letter *letter, struct loop *here)
{
    struct asked_name *asked = CONTAINER_OF(letter, struct asked_name, letter);
    struct worker *worker = asked->worker;
    struct known_name *name = asked->name;
    (void)here;
    atomic_fetch_sub(&worker->shared->letters, 1);
    worker->forward->names->asked--;
    name->asked = NULL;
    link_name(worker->forward->names, name);
    take_answer(name, &asked->question, worker->loop.now_ms, worker->loop.turns);
    free(asked);
    tell(name);
}

/* On the control thread. */
static void answered(struct question *question)
{
    struct asked_name *asked = CONTAINER_OF(question, struct asked_name, question);
    asked->letter.deliver = came_back;
    mailbox_send(asked->letter.to, &asked->worker->loop, &asked->letter);
}

static void ask_there(struct letter *letter, struct loop *here)
{
    struct asked_name *asked = CONTAINER_OF(letter, struct asked_name, letter);
    struct server_process *process = (struct server_process *)here;
    if (!process->asker && process->state != PROCESS_CUTTING)
        process->asker = asker_new(here, &process->generation->config->dns);
    if (process->asker) {
        asker_ask(process->asker, &asked->question);
        return;
    }
    asked->question.verdict = ASKED_FAILED;
    answered(&asked->question);
}

/* Asking ------------------------------------------------------------------------------------------------------- */

static bool ask(struct names *names, struct known_name *name, const struct config_dns *dns, uint32_t patience_ms)
{
    struct worker *worker = names->worker;
    bool may = names->asked < NAMES_ASKED && worker->end_ms == 0; /* the control thread may have ended before this one */
    struct asked_name *asked = !may || FAULT("names") ? NULL : malloc(sizeof *asked);
    if (!asked)
        return false;
    memset(asked, 0, offsetof(struct asked_name, question.addresses));
    asked->worker = worker;
    asked->name = name;
    asked->letter.deliver = ask_there;
    asked->question.answered = answered;
    asked->question.due_ms = worker->loop.now_ms + patience_ms;
    memcpy(asked->question.name, name->text, name->length);
    name->ttl_min_ms = dns->ttl_min_ms;
    name->ttl_max_ms = dns->ttl_max_ms;
    name->asked = asked;
    unlink_name(names, name);
    names->asked++;
    COUNT(worker, forward_lookups);
    atomic_fetch_add(&worker->shared->letters, 1);
    mailbox_send(&worker->loop, worker->control, &asked->letter);
    return true;
}

enum name_state names_find(struct names *names, struct slice text, const struct config_dns *dns, uint32_t patience_ms,
                           struct name_wait *wait, const struct name_address **addresses, uint32_t *count)
{
    struct known_name *name = map_find(&names->map, text);
    if (!name)
        name = name_new(names, text);
    if (!name)
        return NAME_BUSY;
    const struct loop *loop = &names->worker->loop;
    bool old = name->state == NAME_BUSY ? loop->turns != name->busy_turn : loop->now_ms >= name->expires_ms;
    if (!name->asked && old && !ask(names, name, dns, patience_ms))
        return NAME_BUSY;
    if (name->asked) {
        wait_join(&name->waits, &wait->wait);
        return NAME_WAIT;
    }
    unlink_name(names, name);
    link_name(names, name);
    *addresses = name->addresses;
    *count = name->count;
    return name->state;
}

/* Life --------------------------------------------------------------------------------------------------------- */

struct names *names_new(struct worker *worker)
{
    struct names *names = FAULT("names") ? NULL : calloc(1, sizeof *names);
    if (!names)
        return NULL;
    names->worker = worker;
    map_init(&names->map, NAMES_KEPT + NAMES_ASKED, loop_random(&worker->loop), loop_random(&worker->loop));
    return names;
}

void names_free(struct names *names)
{
    struct map_entry *entry;
    uint32_t cursor = 0;
    if (!names)
        return;
    while ((entry = map_next(&names->map, &cursor))) {
        struct known_name *name = entry->value;
        free(name->asked);
        free_name(name);
    }
    map_release(&names->map);
    free(names);
}
