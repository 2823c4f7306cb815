/*
 * Small contents are gathered behind the record's head and sealed in place in one call; larger ones go through the cipher run by run,
 * which saves the copy.
 */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/memory.h>

#if __has_include(<intel-ipsec-mb.h>)
#include <intel-ipsec-mb.h>
#define HAVE_IPSEC_MB 1
#endif

#include "engine/base/check.h"
#include "proto/tls_record.h"

#define GATHER_BYTES_MAX 2048u

/* Ciphers ------------------------------------------------------------------------------------------------------ */

/* AES-GCM by one library. seal: runs to out, then the tag behind them. */
struct cipher {
    enum err (*expand)(struct tls_keys *keys, const unsigned char *key);
    void (*seal)(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const struct tls_run *runs, unsigned count, unsigned char *out);
    enum err (*open)(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const unsigned char *in, size_t length, unsigned char *out);
    void (*wipe)(struct tls_keys *keys);
};

static const unsigned char *bytes_of(const char *at)
{
    return (const unsigned char *)at;
}

static size_t total_of(const struct tls_run *runs, unsigned count)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += runs[i].length;
    return total;
}

/* Contents that a one-shot cipher needs in one run. */
static size_t gather(const struct tls_run *runs, unsigned count, unsigned char *out)
{
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(out + at, runs[i].at, runs[i].length);
        at += runs[i].length;
    }
    return at;
}

/* wolfCrypt ---------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(Aes) <= sizeof((struct tls_keys *)0)->schedule, "the expanded key has its place");

static Aes *aes_of(struct tls_keys *keys)
{
    return (Aes *)(void *)keys->schedule;
}

static enum err wolf_expand(struct tls_keys *keys, const unsigned char *key)
{
    Aes *aes = aes_of(keys);
    if (wc_AesInit(aes, NULL, INVALID_DEVID) != 0)
        return ERR_MEMORY;
    return wc_AesGcmSetKey(aes, key, (word32)tls_suite_key_bytes(keys->suite)) == 0 ? ERR_OK : ERR_MEMORY;
}

static void wolf_seal(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const struct tls_run *runs, unsigned count, unsigned char *out)
{
    size_t length = gather(runs, count, out);
    MUST(wc_AesGcmEncrypt(aes_of(keys), out, out, (word32)length, nonce, 12, out + length, TLS_TAG_BYTES, bytes_of(associated.at), (word32)associated.length) == 0);
}

static enum err wolf_open(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const unsigned char *in, size_t length, unsigned char *out)
{
    int result = wc_AesGcmDecrypt(aes_of(keys), out, in, (word32)length, nonce, 12, in + length, TLS_TAG_BYTES, bytes_of(associated.at), (word32)associated.length);
    return result == 0 ? ERR_OK : ERR_REFUSED;
}

static void wolf_wipe(struct tls_keys *keys)
{
    wc_AesFree(aes_of(keys));
}

static const struct cipher wolf_gcm = { wolf_expand, wolf_seal, wolf_open, wolf_wipe };

/* ChaCha20 has no expanded key: schedule holds the key itself. */
static enum err chacha_expand(struct tls_keys *keys, const unsigned char *key)
{
    memcpy(keys->schedule, key, CHACHA20_POLY1305_AEAD_KEYSIZE);
    return ERR_OK;
}

static void chacha_seal(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const struct tls_run *runs, unsigned count, unsigned char *out)
{
    size_t length = gather(runs, count, out);
    MUST(wc_ChaCha20Poly1305_Encrypt(keys->schedule, nonce, bytes_of(associated.at), (word32)associated.length, out, (word32)length, out, out + length) == 0);
}

static enum err chacha_open(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const unsigned char *in, size_t length, unsigned char *out)
{
    int result = wc_ChaCha20Poly1305_Decrypt(keys->schedule, nonce, bytes_of(associated.at), (word32)associated.length, in, (word32)length, in + length, out);
    return result == 0 ? ERR_OK : ERR_REFUSED;
}

static void nothing_to_wipe(struct tls_keys *keys)
{
    (void)keys;
}

static const struct cipher chacha = { chacha_expand, chacha_seal, chacha_open, nothing_to_wipe };

/* ipsec-mb ----------------------------------------------------------------------------------------------------- */

#ifdef HAVE_IPSEC_MB
static IMB_MGR *intel; /* written once at the start; only its table of functions is used */

_Static_assert(sizeof(struct gcm_key_data) <= sizeof((struct tls_keys *)0)->schedule, "the expanded key has its place");

static struct gcm_key_data *key_data_of(struct tls_keys *keys)
{
    return (struct gcm_key_data *)(void *)keys->schedule;
}

static bool is_128(const struct tls_keys *keys)
{
    return keys->suite == TLS_AES_128_GCM;
}

static enum err intel_expand(struct tls_keys *keys, const unsigned char *key)
{
    if (is_128(keys))
        IMB_AES128_GCM_PRE(intel, key, key_data_of(keys));
    else
        IMB_AES256_GCM_PRE(intel, key, key_data_of(keys));
    return ERR_OK;
}

static void intel_seal_runs(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const struct tls_run *runs, unsigned count, unsigned char *out)
{
    struct gcm_context_data state;
    const struct gcm_key_data *key = key_data_of(keys);
    bool short_key = is_128(keys);
    (short_key ? intel->gcm128_init : intel->gcm256_init)(key, &state, nonce, bytes_of(associated.at), associated.length);
    for (unsigned i = 0; i < count; i++) {
        (short_key ? intel->gcm128_enc_update : intel->gcm256_enc_update)(key, &state, out, bytes_of(runs[i].at), runs[i].length);
        out += runs[i].length;
    }
    (short_key ? intel->gcm128_enc_finalize : intel->gcm256_enc_finalize)(key, &state, out, TLS_TAG_BYTES);
}

static void intel_seal(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const struct tls_run *runs, unsigned count, unsigned char *out)
{
    struct gcm_context_data state;
    size_t length = total_of(runs, count);
    if (length > GATHER_BYTES_MAX) {
        intel_seal_runs(keys, nonce, associated, runs, count, out);
        return;
    }
    gather(runs, count, out);
    (is_128(keys) ? intel->gcm128_enc : intel->gcm256_enc)(key_data_of(keys), &state, out, out, length, nonce, bytes_of(associated.at), associated.length,
                                                           out + length, TLS_TAG_BYTES);
}

static enum err intel_open(struct tls_keys *keys, const unsigned char *nonce, struct slice associated, const unsigned char *in, size_t length, unsigned char *out)
{
    struct gcm_context_data state;
    unsigned char tag[TLS_TAG_BYTES], difference = 0;
    (is_128(keys) ? intel->gcm128_dec : intel->gcm256_dec)(key_data_of(keys), &state, out, in, length, nonce, bytes_of(associated.at), associated.length, tag,
                                                           sizeof tag);
    for (unsigned i = 0; i < sizeof tag; i++)
        difference |= (unsigned char)(tag[i] ^ in[length + i]); /* in the same time wherever they differ */
    return difference == 0 ? ERR_OK : ERR_REFUSED;
}

static const struct cipher intel_gcm = { intel_expand, intel_seal, intel_open, nothing_to_wipe };
#endif

/* The choice --------------------------------------------------------------------------------------------------- */

static const struct cipher *gcm = &wolf_gcm;
static const char *backend = "wolfCrypt";

const char *tls_record_backend(void)
{
    return backend;
}

static const struct cipher *cipher_of(const struct tls_keys *keys)
{
    return keys->suite == TLS_CHACHA20_POLY1305 ? &chacha : gcm;
}

/* Test case 4 of the GCM specification (McGrew and Viega), AES-128: 60 bytes with 20 associated ones; here in two runs. */
static bool known_answer(const struct cipher *cipher)
{
    static const unsigned char key[16] = { 0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08 };
    static const unsigned char nonce[12] = { 0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88 };
    static const unsigned char plain[60] = { 0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5, 0xaf, 0xf5, 0x26, 0x9a,
                                             0x86, 0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72,
                                             0x1c, 0x3c, 0x0c, 0x95, 0x95, 0x68, 0x09, 0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25,
                                             0xb1, 0x6a, 0xed, 0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39 };
    static const unsigned char associated[20] = { 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef,
                                                  0xab, 0xad, 0xda, 0xd2 };
    static const unsigned char tag[16] = { 0x5b, 0xc9, 0x4f, 0xbc, 0x32, 0x21, 0xa5, 0xdb, 0x94, 0xfa, 0xe9, 0x5a, 0xe7, 0x12, 0x1a, 0x47 };
    const struct tls_run runs[2] = { { (const char *)plain, 33 }, { (const char *)plain + 33, 27 } };
    struct slice with = slice_of((const char *)associated, sizeof associated);
    struct tls_keys keys = { .suite = TLS_AES_128_GCM };
    unsigned char sealed[60 + 16], opened[60];
    if (cipher->expand(&keys, key) != ERR_OK)
        return false;
    cipher->seal(&keys, nonce, with, runs, 2, sealed);
    bool right = memcmp(sealed + 60, tag, sizeof tag) == 0 && cipher->open(&keys, nonce, with, sealed, 60, opened) == ERR_OK && memcmp(opened, plain, sizeof plain) == 0;
    sealed[7] ^= 1;
    right = right && cipher->open(&keys, nonce, with, sealed, 60, opened) == ERR_REFUSED;
    cipher->wipe(&keys);
    return right;
}

#ifdef HAVE_IPSEC_MB
static void choose_intel(void)
{
    IMB_ARCH found = IMB_ARCH_NONE;
    intel = alloc_mb_mgr(0);
    if (!intel)
        return;
    init_mb_mgr_auto(intel, &found);
    bool vectors = (intel->features & IMB_FEATURE_VAES) && found == IMB_ARCH_AVX512;
    if (imb_get_errno(intel) == 0 && (intel->features & IMB_FEATURE_AESNI) && known_answer(&intel_gcm)) {
        gcm = &intel_gcm;
        backend = vectors ? "ipsec-mb (VAES, AVX-512)" : "ipsec-mb (AES-NI)";
    }
}
#endif

enum err tls_record_start(void)
{
    if (!known_answer(&wolf_gcm))
        return ERR_SYSTEM;
#ifdef HAVE_IPSEC_MB
    if (!intel)
        choose_intel();
#endif
    return ERR_OK;
}

/* Keys --------------------------------------------------------------------------------------------------------- */

size_t tls_suite_key_bytes(enum tls_suite suite)
{
    return suite == TLS_AES_128_GCM ? 16 : 32;
}

enum err tls_keys_set(struct tls_keys *keys, enum tls_suite suite, bool tls13, const unsigned char *key, const unsigned char *iv, uint64_t sequence)
{
    keys->suite = (uint8_t)suite;
    keys->tls13 = tls13;
    keys->sequence = sequence;
    memcpy(keys->iv, iv, suite != TLS_CHACHA20_POLY1305 && !tls13 ? 4 : sizeof keys->iv);
    enum err e = cipher_of(keys)->expand(keys, key);
    keys->set = e == ERR_OK;
    return e;
}

void tls_keys_wipe(struct tls_keys *keys)
{
    if (keys->set)
        cipher_of(keys)->wipe(keys);
    explicit_bzero(keys, sizeof *keys);
}

/* Records ------------------------------------------------------------------------------------------------------ */

/* AES-GCM in TLS 1.2 sends half of its nonce along (RFC 5288 3); the sequence number serves, as it never repeats. */
static bool explicit_nonce(const struct tls_keys *keys)
{
    return !keys->tls13 && keys->suite != TLS_CHACHA20_POLY1305;
}

size_t tls_record_overhead(const struct tls_keys *keys)
{
    return TLS_RECORD_HEAD_BYTES + (explicit_nonce(keys) ? TLS_EXPLICIT_NONCE_BYTES : 0) + (keys->tls13 ? 1 : 0) + TLS_TAG_BYTES;
}

static void put_u16(unsigned char *at, size_t value)
{
    at[0] = (unsigned char)(value >> 8);
    at[1] = (unsigned char)value;
}

static void put_u64(unsigned char *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (unsigned char)(value >> (56 - 8 * i));
}

/* RFC 8446 5.3 and RFC 7905 2: the sequence number over the IV's end. */
static void mixed_nonce(const struct tls_keys *keys, unsigned char nonce[12])
{
    unsigned char number[8];
    memcpy(nonce, keys->iv, 12);
    put_u64(number, keys->sequence);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] ^= number[i];
}

/* TLS 1.2's associated data (RFC 5246 6.2.3.3); TLS 1.3's is the record's head. */
static struct slice associated_12(const struct tls_keys *keys, unsigned char room[13], enum tls_content_type type, size_t length)
{
    put_u64(room, keys->sequence);
    room[8] = (unsigned char)type;
    room[9] = 3;
    room[10] = 3;
    put_u16(room + 11, length);
    return slice_of((const char *)room, 13);
}

static size_t seal_13(struct tls_keys *keys, enum tls_content_type type, const struct tls_run *runs, unsigned count, unsigned char *out)
{
    unsigned char nonce[12];
    char inner = (char)type;
    struct tls_run all[TLS_RUNS_MAX + 1];
    MUST(count <= TLS_RUNS_MAX);
    memcpy(all, runs, count * sizeof *runs);
    all[count] = (struct tls_run){ &inner, 1 };
    size_t sealed = total_of(all, count + 1) + TLS_TAG_BYTES;
    out[0] = TLS_APPLICATION_DATA;
    out[1] = out[2] = 3;
    put_u16(out + 3, sealed);
    mixed_nonce(keys, nonce);
    cipher_of(keys)->seal(keys, nonce, slice_of((const char *)out, TLS_RECORD_HEAD_BYTES), all, count + 1, out + TLS_RECORD_HEAD_BYTES);
    return TLS_RECORD_HEAD_BYTES + sealed;
}

static size_t seal_12(struct tls_keys *keys, enum tls_content_type type, const struct tls_run *runs, unsigned count, unsigned char *out)
{
    unsigned char nonce[12], room[13];
    size_t length = total_of(runs, count), sealed = length + TLS_TAG_BYTES;
    unsigned char *at = out + TLS_RECORD_HEAD_BYTES;
    if (explicit_nonce(keys)) {
        memcpy(nonce, keys->iv, 4);
        put_u64(nonce + 4, keys->sequence);
        memcpy(at, nonce + 4, TLS_EXPLICIT_NONCE_BYTES);
        at += TLS_EXPLICIT_NONCE_BYTES;
        sealed += TLS_EXPLICIT_NONCE_BYTES;
    } else
        mixed_nonce(keys, nonce);
    out[0] = (unsigned char)type;
    out[1] = out[2] = 3;
    put_u16(out + 3, sealed);
    cipher_of(keys)->seal(keys, nonce, associated_12(keys, room, type, length), runs, count, at);
    return TLS_RECORD_HEAD_BYTES + sealed;
}

size_t tls_seal(struct tls_keys *keys, enum tls_content_type type, const struct tls_run *runs, unsigned count, char *out)
{
    size_t length = keys->tls13 ? seal_13(keys, type, runs, count, (unsigned char *)out) : seal_12(keys, type, runs, count, (unsigned char *)out);
    keys->sequence++;
    return length;
}

/* The content type is the last byte that is not padding (RFC 8446 5.4). */
static enum err strip_padding(const char *out, size_t length, size_t *content, enum tls_content_type *type)
{
    while (length > 0 && out[length - 1] == 0)
        length--;
    if (length == 0 || length - 1 > TLS_PLAIN_BYTES_MAX)
        return ERR_SYNTAX;
    *type = (enum tls_content_type)(unsigned char)out[length - 1];
    *content = length - 1;
    return ERR_OK;
}

static enum err open_13(struct tls_keys *keys, const unsigned char *record, size_t length, char *out, size_t *content, enum tls_content_type *type)
{
    unsigned char nonce[12];
    if (record[0] != TLS_APPLICATION_DATA || length < TLS_RECORD_HEAD_BYTES + 1 + TLS_TAG_BYTES)
        return ERR_SYNTAX;
    size_t sealed = length - TLS_RECORD_HEAD_BYTES - TLS_TAG_BYTES;
    mixed_nonce(keys, nonce);
    enum err e = cipher_of(keys)->open(keys, nonce, slice_of((const char *)record, TLS_RECORD_HEAD_BYTES), record + TLS_RECORD_HEAD_BYTES, sealed, (unsigned char *)out);
    return e == ERR_OK ? strip_padding(out, sealed, content, type) : e;
}

static enum err open_12(struct tls_keys *keys, const unsigned char *record, size_t length, char *out, size_t *content, enum tls_content_type *type)
{
    unsigned char nonce[12], room[13];
    size_t before = TLS_RECORD_HEAD_BYTES + (explicit_nonce(keys) ? TLS_EXPLICIT_NONCE_BYTES : 0);
    if (length < before + TLS_TAG_BYTES || length - before - TLS_TAG_BYTES > TLS_PLAIN_BYTES_MAX)
        return ERR_SYNTAX;
    *content = length - before - TLS_TAG_BYTES;
    *type = (enum tls_content_type)record[0];
    if (explicit_nonce(keys)) {
        memcpy(nonce, keys->iv, 4);
        memcpy(nonce + 4, record + TLS_RECORD_HEAD_BYTES, TLS_EXPLICIT_NONCE_BYTES);
    } else
        mixed_nonce(keys, nonce);
    return cipher_of(keys)->open(keys, nonce, associated_12(keys, room, *type, *content), record + before, *content, (unsigned char *)out);
}

enum err tls_open(struct tls_keys *keys, const char *record, size_t length, char *out, size_t *content, enum tls_content_type *type)
{
    const unsigned char *bytes = (const unsigned char *)record;
    if (length > TLS_SEALED_BYTES_MAX)
        return ERR_SYNTAX;
    enum err e = keys->tls13 ? open_13(keys, bytes, length, out, content, type) : open_12(keys, bytes, length, out, content, type);
    if (e == ERR_OK)
        keys->sequence++;
    return e;
}
