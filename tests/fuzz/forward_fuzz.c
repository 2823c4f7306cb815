/*
 * Hosts of the forward proxy: any bytes as a host, and as an entry of a list. What the system's own readers take for an address is that address here, or
 * no host at all; a name has one form, which reads back as itself; what is special is never admitted; an entry that is written reads back.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/policy/forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct forward_ports all_ports = { 1, 65535 };
static const struct forward_policy policy = { .connect_ports = &all_ports, .connect_port_count = 1 };

/* What connect(2) would get from whoever hands the text to the system. inet_aton takes blanks and more behind an address, which no host has. */
static void agrees_with_the_system(struct slice text, const struct forward_host *host, bool taken)
{
    char room[300];
    struct in_addr v4;
    struct in6_addr v6;
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (text.length >= sizeof room || memchr(text.at, '\0', text.length))
        return;
    memcpy(room, text.at, text.length);
    room[text.length] = '\0';
    if (inet_aton(room, &v4) && taken)
        MUST(host->is_address && memcmp(host->address, mapped, 12) == 0 && memcmp(host->address + 12, &v4, 4) == 0);
    if (text.length < 2 || room[0] != '[' || room[text.length - 1] != ']')
        return;
    room[text.length - 1] = '\0';
    bool well = inet_pton(AF_INET6, room + 1, &v6) == 1;
    MUST(well == taken && (!well || memcmp(host->address, &v6, 16) == 0));
}

static void a_name_has_one_form(const struct forward_host *host)
{
    struct forward_host again;
    MUST(host->length > 0 && host->length <= FORWARD_HOST_BYTES_MAX && host->name[host->length] == '\0');
    MUST(forward_host_read(slice_of(host->name, host->length), &again) && !again.is_address);
    MUST(again.length == host->length && memcmp(again.name, host->name, host->length) == 0);
}

static void is_judged_alike(struct slice text, const struct forward_host *host)
{
    enum forward_verdict verdict = forward_decide(&policy, text, 443, true);
    MUST(verdict == FORWARD_ALLOWED || verdict == FORWARD_PRIVATE);
    if (host->is_address) {
        MUST((verdict == FORWARD_PRIVATE) == (address_class(host->address) != NULL));
        MUST(forward_admits(&policy, text, host->address, 443) == verdict);
    }
}

static void entry_reads_back(struct slice text)
{
    char written[FORWARD_ENTRY_TEXT_BYTES], again[FORWARD_ENTRY_TEXT_BYTES];
    struct forward_entry entry, same;
    if (text.length > 290 || forward_entry_read(text, &entry) != NULL)
        return;
    forward_entry_write(&entry, written);
    MUST(forward_entry_read(slice_of_text(written), &same) == NULL);
    forward_entry_write(&same, again);
    MUST(strcmp(written, again) == 0 && entry.kind == same.kind && entry.port == same.port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct forward_host host;
    char *copy = malloc(size + 1);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    struct slice text = slice_of(copy, size);
    bool taken = forward_host_read(text, &host);
    agrees_with_the_system(text, &host, taken);
    if (taken && !host.is_address)
        a_name_has_one_form(&host);
    if (taken)
        is_judged_alike(text, &host);
    else
        MUST(forward_decide(&policy, text, 443, true) == FORWARD_BAD_HOST);
    entry_reads_back(text);
    free(copy);
    return 0;
}
