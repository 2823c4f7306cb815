/*
 * random: bytes that nobody can guess, from the kernel (getrandom(2), Linux 3.17). For keys and seeds; for jitter and picks there is
 * loop_random, which costs nothing.
 */
#ifndef WEIR_RANDOM_H
#define WEIR_RANDOM_H

/* Fills length bytes. 0, or -1 when the kernel has none to give (fault point "random"). wolfSSL is built to call it by this name. */
int random_block(unsigned char *out, unsigned length);

#endif
