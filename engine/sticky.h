/*
 * sticky: the cookie that brings a client back to the server it had.
 *
 * Its value is 16 hexadecimal digits: the first 64 bits of HMAC-SHA-256 over the server's key ("pool/address") with a secret. So it says nothing
 * of the origins, and nobody without the secret can name a server. The servers' ids are worked out with each generation; a request costs
 * a look at its Cookie, a response a Set-Cookie only when the client is not yet where it says.
 */
#ifndef WEIR_STICKY_H
#define WEIR_STICKY_H

#include "engine/config.h"

struct generation;

#define STICKY_SECRET_BYTES 32u
#define STICKY_COOKIE_BYTES 512u

/*
 * Control thread: fills generation->sticky. secret: the process's own, for pools that name no file. False: why says which file and what
 * is wrong with it. derive: with the secrets of the previous one, whose pools are the same; no file is read.
 */
bool must_use sticky_prepare(struct generation *generation, const uint8_t secret[STICKY_SECRET_BYTES], char why[256]);
bool must_use sticky_derive(struct generation *generation, const struct generation *previous);
void sticky_release(struct generation *generation);

/* Of a pool's server, by its place in the configuration; 0: the pool has no such cookie. Any thread. */
uint64_t sticky_id_of(const struct generation *generation, uint32_t pool, uint32_t server);

/* The id in the request's cookie; 0: it has none that could be one. */
uint64_t sticky_read(const struct config_pool *pool, const struct request *request);

/* The value of Set-Cookie, in out (RFC 6265 4.1). secure: the client came by TLS. */
struct slice sticky_write(const struct config_pool *pool, uint64_t id, bool secure, char out[STICKY_COOKIE_BYTES]);

#endif
