#include "engine/resolver_answer.h"

#include <stdlib.h>

#include "engine/base/check.h"

/* Answers ------------------------------------------------------------------------------------------------------ */

void answer_release(struct name_answer *answer)
{
    free(answer->addresses);
    free(answer->targets);
    *answer = (struct name_answer){ 0 };
}

static int compare_addresses(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct name_address)); /* bytes only, no padding */
}
_Static_assert(sizeof(struct name_address) == 17, "compared as bytes");

static int compare_targets(const void *a, const void *b)
{
    const struct name_target *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    int order = strcmp(x->host, y->host);
    if (order == 0)
        order = (int)x->port - (int)y->port;
    return order ? order : (int)x->weight - (int)y->weight;
}

/* Sorted, what stands twice once, and no more than `most`. */
static uint32_t tidy(void *list, uint32_t count, size_t bytes, uint32_t most, int (*compare)(const void *a, const void *b))
{
    char *at = list;
    uint32_t kept = 0;
    if (count)
        qsort(list, count, bytes, compare);
    for (uint32_t i = 0; i < count; i++) {
        if (kept && compare(at + (kept - 1) * bytes, at + i * bytes) == 0)
            continue;
        if (kept < most)
            memmove(at + kept++ * bytes, at + i * bytes, bytes);
    }
    return kept;
}

bool answer_equal(const struct name_answer *a, const struct name_answer *b)
{
    if (a->address_count != b->address_count || a->target_count != b->target_count)
        return false;
    return (a->address_count == 0 || memcmp(a->addresses, b->addresses, a->address_count * sizeof *a->addresses) == 0) &&
           (a->target_count == 0 || memcmp(a->targets, b->targets, a->target_count * sizeof *a->targets) == 0);
}

/* Addresses ---------------------------------------------------------------------------------------------------- */

/* This host, groups, everybody: an answer with these means that there is none, and connecting to 0.0.0.0 or :: would reach this machine. */
static bool is_no_host_v4(const uint8_t bytes[4])
{
    return bytes[0] == 0 || (bytes[0] & 0xf0) == 0xe0 || (bytes[0] == 255 && bytes[1] == 255 && bytes[2] == 255 && bytes[3] == 255);
}

static bool is_no_host(const struct name_address *address)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }, none[16];
    if (address->family == 4)
        return is_no_host_v4(address->bytes);
    if (memcmp(address->bytes, mapped, sizeof mapped) == 0)
        return is_no_host_v4(address->bytes + sizeof mapped);
    return address->bytes[0] == 0xff || memcmp(address->bytes, none, sizeof none) == 0;
}

static bool add_address(struct name_address *to, const struct sockaddr *from, enum dns_family family)
{
    *to = (struct name_address){ 0 };
    if (from->sa_family == AF_INET && family != DNS_IPV6) {
        to->family = 4;
        memcpy(to->bytes, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6 && family != DNS_IPV4) {
        to->family = 6;
        memcpy(to->bytes, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    }
    return to->family != 0 && !is_no_host(to);
}

bool answer_of_addresses(const struct ares_addrinfo *info, enum dns_family family, struct name_answer *answer, uint32_t *ttl_s)
{
    uint32_t count = 0;
    int ttl = INT32_MAX;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next)
        count++;
    answer->addresses = FAULT("resolver") ? NULL : calloc(count + 1u, sizeof *answer->addresses);
    if (!answer->addresses)
        return false;
    count = 0;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
        count += add_address(&answer->addresses[count], node->ai_addr, family);
        ttl = node->ai_ttl < ttl ? node->ai_ttl : ttl;
    }
    for (const struct ares_addrinfo_cname *cname = info->cnames; cname; cname = cname->next)
        ttl = cname->ttl < ttl ? cname->ttl : ttl;
    answer->address_count = tidy(answer->addresses, count, sizeof *answer->addresses, NAME_ADDRESSES_MAX, compare_addresses);
    *ttl_s = ttl > 0 ? (uint32_t)ttl : 0;
    return true;
}

/* Services ----------------------------------------------------------------------------------------------------- */

/* The least TTL of the answer's SRV records; c-ares keeps it to itself. The message was parsed well before. */
static uint32_t least_ttl(const unsigned char *message, int length)
{
    const unsigned char *at = message + 12, *end = message + length;
    unsigned questions = (unsigned)(message[4] << 8 | message[5]), answers = (unsigned)(message[6] << 8 | message[7]);
    uint32_t least = INT32_MAX;
    for (unsigned i = 0; i < questions + answers; i++) {
        char *name;
        long used;
        if (ares_expand_name(at, message, length, &name, &used) != ARES_SUCCESS)
            return 0;
        ares_free_string(name);
        at += used;
        if (end - at < (i < questions ? 4 : 10))
            return 0;
        if (i < questions) {
            at += 4;
            continue;
        }
        uint32_t ttl = (uint32_t)at[4] << 24 | (uint32_t)at[5] << 16 | (uint32_t)at[6] << 8 | at[7];
        long data = at[8] << 8 | at[9];
        least = ttl < least ? ttl : least;
        if (end - at - 10 < data)
            return 0;
        at += 10 + data;
    }
    return least;
}

/* What could stand as the host of an address in a configuration (config_address.c). "." says that there is no such service. */
static bool take_target(struct name_target *to, const struct ares_srv_reply *from)
{
    size_t length = strlen(from->host);
    if (length && from->host[length - 1] == '.')
        length--;
    if (length == 0 || length > 253 || from->port == 0 || from->host[0] == '-' || from->host[0] == '.')
        return false;
    *to = (struct name_target){ .port = from->port, .priority = from->priority, .weight = from->weight };
    bool number = true;
    for (size_t i = 0; i < length; i++) {
        char c = from->host[i];
        c = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || (c == '.' && from->host[i + 1] != '.')))
            return false;
        number = number && (c == '.' || (c >= '0' && c <= '9'));
        to->host[i] = c;
    }
    return !number;
}

static bool read_targets(const struct ares_srv_reply *list, struct name_answer *answer)
{
    uint32_t count = 0;
    for (const struct ares_srv_reply *one = list; one; one = one->next)
        count++;
    answer->targets = FAULT("resolver") ? NULL : calloc(count + 1u, sizeof *answer->targets);
    if (!answer->targets)
        return false;
    count = 0;
    for (const struct ares_srv_reply *one = list; one; one = one->next)
        count += take_target(&answer->targets[count], one);
    answer->target_count = tidy(answer->targets, count, sizeof *answer->targets, NAME_TARGETS_MAX, compare_targets);
    return true;
}

int answer_of_service(const unsigned char *message, int length, struct name_answer *answer, uint32_t *ttl_s)
{
    struct ares_srv_reply *list = NULL;
    int status = ares_parse_srv_reply(message, length, &list);
    if (status == ARES_SUCCESS && !read_targets(list, answer))
        status = ARES_ENOMEM;
    if (status == ARES_SUCCESS && answer->target_count == 0)
        status = ARES_ENODATA;
    if (status == ARES_SUCCESS)
        *ttl_s = least_ttl(message, length);
    if (list)
        ares_free_data(list);
    return status;
}
