/*
 * self_signed: a certificate for trying things out, made where there is none: for `weir demo`. Nobody believes it who is not told to.
 */
#ifndef WEIR_SELF_SIGNED_H
#define WEIR_SELF_SIGNED_H

#include "engine/base/base.h"

/*
 * Sees to a certificate for localhost and its key (ECDSA P-256, a year) at these paths: what is there is kept as long as it is good for another
 * day. The key's file is its owner's alone. ERR_SYSTEM and errno: it cannot be written; ERR_MEMORY.
 */
enum err must_use self_signed_ensure(const char *chain_path, const char *key_path);

#endif
