/*
 * The keys of TLS tickets, which belong to the process and survive reloads: random ones that are turned, or those of a file that several
 * engines share.
 *
 * A random key seals for half a ticket's lifetime and then opens for at least a whole one more, so that no ticket ends before its time and
 * none lives much longer than it: whoever steals today's keys cannot read what was said the day before yesterday. What is left of the promise
 * with a file is its owner's affair.
 */
#include "engine/base/random.h"
#include "engine/certificates.h"
#include "engine/process.h"

static bool make_key(uint8_t key[TLS_TICKET_KEY_BYTES])
{
    return random_block(key, TLS_TICKET_KEY_BYTES) == 0;
}

static void plan_turn(struct server_process *process)
{
    timer_set(&process->loop.wheel, &process->ticket_turn, process->loop.now_ms + process->ticket_turn_ms);
}

static void turn(struct timer *timer, uint64_t now_ms)
{
    (void)now_ms;
    struct server_process *process = CONTAINER_OF(timer, struct server_process, ticket_turn);
    uint8_t key[TLS_TICKET_KEY_BYTES];
    if (make_key(key))
        tls_tickets_add(process->tickets, key);
    else
        log_line(LOG_ERROR, "no random bytes for a new ticket key; the old one stays");
    explicit_bzero(key, sizeof key);
    plan_turn(process);
}

enum err tickets_start(struct server_process *process)
{
    uint8_t key[TLS_TICKET_KEY_BYTES];
    if (tls_library_start() != ERR_OK)
        return ERR_MEMORY;
    process->tickets = tls_tickets_new(1); /* the configuration says for how long: tickets_adopt */
    if (!process->tickets || !make_key(key)) {
        tls_tickets_free(process->tickets);
        process->tickets = NULL;
        tls_library_end();
        return ERR_MEMORY;
    }
    process->ticket_turn.fire = turn;
    process->registry.tickets = process->tickets;
    tls_tickets_add(process->tickets, key);
    explicit_bzero(key, sizeof key);
    return ERR_OK;
}

static void use_file(struct server_process *process, const struct ticket_keys_file *keys)
{
    timer_cancel(&process->loop.wheel, &process->ticket_turn);
    process->ticket_turn_ms = 0;
    tls_tickets_set(process->tickets, keys->list, keys->count);
}

/* Reloads do not put a turn off, and what a file said is forgotten. */
static void use_random(struct server_process *process, uint32_t lifetime_ms)
{
    uint8_t key[TLS_TICKET_KEY_BYTES];
    uint32_t every_ms = lifetime_ms / 2;
    bool from_file = process->ticket_turn_ms == 0;
    if (every_ms == process->ticket_turn_ms)
        return;
    process->ticket_turn_ms = every_ms;
    plan_turn(process);
    if (from_file && make_key(key))
        tls_tickets_set(process->tickets, &key, 1);
    explicit_bzero(key, sizeof key);
}

void tickets_adopt(struct server_process *process)
{
    struct generation *generation = process->generation;
    uint32_t lifetime_ms = generation->config->tls.ticket_lifetime_ms;
    tls_tickets_set_lifetime(process->tickets, (lifetime_ms + 999) / 1000);
    if (generation->ticket_keys)
        use_file(process, generation->ticket_keys);
    else
        use_random(process, lifetime_ms);
    certificates_forget_ticket_keys(generation);
}

void tickets_end(struct server_process *process)
{
    if (!process->tickets)
        return;
    tls_tickets_free(process->tickets);
    process->tickets = NULL;
    tls_library_end();
}
