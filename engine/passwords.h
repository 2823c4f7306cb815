/*
 * passwords: who may use the forward proxy, from a file of lines `name:hash`.
 *
 * Hashes are those of crypt(3): bcrypt ($2a$, $2b$, $2y$), yescrypt ($y$), sha512crypt ($6$) and sha256crypt ($5$), as htpasswd -B and mkpasswd make
 * them. What can be guessed in no time (MD5, DES, SHA-1, a plain password) is refused by name, and so is a cost that would keep verifier.h's thread
 * busy for seconds. (bcrypt looks at a password's first 72 bytes, here as everywhere.) Empty lines and lines that begin with '#' are skipped.
 *
 * A file is read by the control thread with each generation and never changes afterwards; generations and questions under way count it. Where the
 * bytes are those of the generation before, it is the same object, so that credentials stay proven over a reload.
 */
#ifndef WEIR_PASSWORDS_H
#define WEIR_PASSWORDS_H

#include "engine/base/slice.h"

#define PASSWORDS_FILE_BYTES_MAX (4u * 1024u * 1024u)
#define PASSWORDS_USERS_MAX 65536u
#define PASSWORDS_HASH_BYTES_MAX 255u

struct passwords;

/*
 * One reference, of `previous` (may be NULL) when nothing has changed. NULL: why says what is wrong, with the line; errno is EACCES only
 * when that was the reason.
 */
struct passwords *must_use passwords_read(struct slice path, struct passwords *previous, char why[256]);
struct passwords *passwords_ref(struct passwords *passwords); /* any thread */
void passwords_unref(struct passwords *passwords);            /* NULL: nothing. The last one wipes it */

uint32_t passwords_count(const struct passwords *passwords);
uint64_t passwords_serial(const struct passwords *passwords); /* no two files of a process have the same */

/*
 * The hash to verify against. *known is false for a name that the file has not; then it is that of some user, the same for each asking, so that
 * the work tells nothing. Ends in NUL.
 */
const char *passwords_hash(const struct passwords *passwords, struct slice name, bool *known);

/*
 * crypt(3), for the verifier's thread: takes as long as the hash's cost says (0.1 s). False, too, when it failed. room: PASSWORDS_ROOM_BYTES, aligned as
 * malloc does; wiped afterwards.
 */
bool passwords_match(const char *hash, struct slice password, void *room);
extern const size_t PASSWORDS_ROOM_BYTES;

#endif
