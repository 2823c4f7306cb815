/*
 * config_value: single values of the configuration, from their text and back. Nothing here knows of rows or nodes.
 *
 * A reader answers NULL, or a complaint that fits behind "'5 sec': " and says how to do better; its result is then
 * untouched. A writer gives the one canonical text of a value, which reads back as the same value.
 */
#ifndef WEIR_CONFIG_VALUE_H
#define WEIR_CONFIG_VALUE_H

#include "engine/config.h"
#include "engine/config_memory.h"

#define VALUE_TEXT_BYTES 64u
#define ADDRESS_TEXT_BYTES 300u

const char *value_read_count(struct slice text, uint64_t *value);
const char *value_read_milliseconds(struct slice text, uint64_t *value); /* 250ms 5s 1m 1h 2d */
const char *value_read_seconds(struct slice text, uint64_t *value);      /* 5s 1m 1h 2d */
const char *value_read_microseconds(struct slice text, uint64_t *value); /* 30us */
const char *value_read_size(struct slice text, uint64_t *value);         /* 512B 64KiB 10MB */
const char *value_read_percent(struct slice text, uint64_t *value);      /* 20% 125 % */
const char *value_read_hundredths(struct slice text, uint64_t *value);   /* 2, 1.9, 0.25: times 100 */
const char *value_read_mode(struct slice text, uint64_t *value);         /* 0660 */
const char *value_read_flag(struct slice text, bool *value);
const char *value_read_status_range(struct slice text, uint16_t *first, uint16_t *last); /* 200, 200-399 */
const char *value_read_network(struct slice text, struct network *network);

void value_write_count(uint64_t value, char out[VALUE_TEXT_BYTES]);
void value_write_milliseconds(uint64_t value, char out[VALUE_TEXT_BYTES]);
void value_write_seconds(uint64_t value, char out[VALUE_TEXT_BYTES]);
void value_write_microseconds(uint64_t value, char out[VALUE_TEXT_BYTES]);
void value_write_size(uint64_t value, char out[VALUE_TEXT_BYTES]);
void value_write_percent(uint64_t value, char out[VALUE_TEXT_BYTES]);
void value_write_hundredths(uint64_t value, char out[VALUE_TEXT_BYTES]);
void value_write_mode(uint64_t value, char out[VALUE_TEXT_BYTES]);
void value_write_status_range(uint16_t first, uint16_t last, char out[VALUE_TEXT_BYTES]);
void value_write_network(const struct network *network, char out[VALUE_TEXT_BYTES]);

/* "unix:", no addresses but whoever connects to a unix socket. */
bool value_network_is_unix(const struct network *network);

/*
 * host:port, [IPv6]:port, unix:/path; a listener's host may be missing (every address, IPv6 and IPv4) but is never a name.
 * A server may also be srv:NAME. A server's name is not looked up: socket_bytes stays 0. The text goes to memory.
 */
enum address_use { ADDRESS_OF_LISTENER, ADDRESS_OF_SERVER };
const char *value_read_address(struct config_memory *memory, struct slice text, enum address_use use, struct address *address);
const char *value_read_name_server(struct config_memory *memory, struct slice text, struct address *address); /* number[:53] */

/* What a server's address text is, once value_read_address took it. */
static inline bool address_is_service(struct slice text) { return slice_starts(text, SLICE("srv:")); }

/* Checks for texts that end up in messages, in a head or in the file system. */
const char *value_check_name(struct slice text);         /* of pools, routes, listeners */
const char *value_check_field_name(struct slice text);   /* RFC 9110 5.1 */
const char *value_check_field_value(struct slice text);  /* RFC 9110 5.5 */
const char *value_check_method(struct slice text);       /* RFC 9110 9.1 */
const char *value_check_pseudonym(struct slice text);    /* received-by of Via, RFC 9110 7.6.3 */
const char *value_check_authority(struct slice text);    /* host or host:port */
const char *value_check_media_type(struct slice text);
const char *value_check_media_pattern(struct slice text); /* a glob for them */
const char *value_check_name_pattern(struct slice text);  /* a glob for names of cookies and of parameters of a query */
const char *value_check_tag(struct slice text);           /* of stored responses */
const char *value_check_protocol(struct slice text);      /* to upgrade to */
const char *value_check_path(struct slice text);         /* canonical (uri.h) */
const char *value_check_target(struct slice text);       /* of a health check: path with an optional query */
const char *value_check_socket_path(struct slice text);
const char *value_check_file(struct slice text);             /* an absolute path */
const char *value_check_server_name(struct slice text);      /* what can stand in SNI, RFC 6066 3 */
const char *value_check_certificate_name(struct slice text); /* the same, or with "*." before it */
const char *value_check_access_log(struct slice text);
const char *value_check_error_log(struct slice text);
const char *value_check_congestion(struct slice text);
const char *value_check_body(struct slice text);

#endif
