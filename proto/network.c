#include "proto/network.h"

#include "proto/address_text.h"

const char *network_read(struct slice text, struct network *network)
{
    static const char *const complaint = "this is an address, or a network such as 10.0.0.0/8 or fd00::/8";
    const char *slash = text.length ? memchr(text.at, '/', text.length) : NULL;
    struct slice host = slice_of(text.at, slash ? (size_t)(slash - text.at) : text.length);
    struct network made = { 0 };
    bool v4 = address_text_read_v4(host, made.address);
    if (!v4 && !address_text_read_v6(host, made.address))
        return complaint;
    uint64_t most = v4 ? 32 : 128, bits = most;
    if (slash && slice_to_u64(slice_of(slash + 1, text.length - host.length - 1), &bits) != ERR_OK)
        return complaint;
    if (bits > most)
        return "the network has more bits than its address";
    made.bits = (uint8_t)(bits + 128 - most);
    *network = made;
    return NULL;
}

size_t network_write(const struct network *network, char out[NETWORK_TEXT_BYTES])
{
    bool v4 = network->bits >= 96 && address_is_v4(network->address);
    unsigned bits = network->bits - (v4 ? 96u : 0u);
    size_t length = address_text_write(network->address, !v4, out);
    out[length++] = '/';
    for (unsigned unit = bits >= 100 ? 100 : bits >= 10 ? 10 : 1; unit; unit /= 10)
        out[length++] = (char)('0' + bits / unit % 10);
    out[length] = '\0';
    return length;
}

struct network network_cleaned(const struct network *network)
{
    struct network cleaned = *network;
    for (unsigned bit = network->bits; bit < 128; bit++)
        cleaned.address[bit / 8] &= (uint8_t)~(0x80u >> (bit % 8));
    return cleaned;
}

bool network_is_clean(const struct network *network)
{
    struct network cleaned = network_cleaned(network);
    return memcmp(cleaned.address, network->address, sizeof cleaned.address) == 0;
}

bool network_has(const struct network *network, const uint8_t address[16])
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(address, network->address, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return (address[whole] & mask) == (network->address[whole] & mask);
}

bool network_is_among(const uint8_t address[16], const struct network *networks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (network_has(&networks[i], address))
            return true;
    return false;
}
