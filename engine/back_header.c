#include "engine/back_header.h"

#include "engine/base/check.h"
#include "engine/front.h"
#include "engine/socket.h"
#include "engine/stream.h"
#include "proto/address_text.h"
#include "proto/tls.h"

static bool read_address(struct slice text, uint8_t out[16])
{
    return address_text_read_v4(text, out) || address_text_read_v6(text, out);
}

/* A client on a unix socket stays unnamed. */
static void name_client(struct conn *client, struct proxy_header *header)
{
    struct conn_client *who = &client->client;
    front_name(client);
    if (!read_address(slice_of(who->address, who->address_length), header->source))
        return;
    header->source_port = who->port;
    if (who->header_named) {
        memcpy(header->destination, who->destination, sizeof header->destination);
        header->destination_port = who->destination_port;
    } else if (!socket_own_address(client->fd, header->destination, &header->destination_port)) {
        return;
    }
    bool v4 = address_is_v4(header->source) && address_is_v4(header->destination);
    header->family = v4 ? PROXY_V4 : PROXY_V6;
}

/* In early data's requests the handshake is not over: what is not known is not said. */
static void describe_tls(const struct tls *tls, struct proxy_header *header)
{
    header->has_tls = true;
    header->tls.client = PROXY_TLS_CLIENT | (tls->peer ? PROXY_TLS_CERTIFICATE | PROXY_TLS_CERTIFICATE_SESSION : 0);
    header->tls.verify = tls->peer ? 0 : 1; /* no handshake ends with a certificate that is not verified */
    header->tls.version = tls->open && !tls->tls13 ? SLICE("TLSv1.2") : SLICE("TLSv1.3");
    header->tls.cipher = slice_of_text(tls->cipher);
    if (tls->peer && tls->peer->common_name[0])
        header->tls.common_name = slice_of_text(tls->peer->common_name);
    header->alpn = slice_of_text(tls->alpn);
    header->authority = slice_of_text(tls->asked_name);
}

size_t back_header_write(struct conn *client, uint32_t version, char out[PROXY_HEADER_BYTES_MAX])
{
    struct proxy_header header = { .version = (uint8_t)version, .local = client == NULL };
    if (client)
        name_client(client, &header);
    if (client && client->tls) {
        describe_tls(client->tls, &header);
    } else if (client && client->client.header_tls) {
        header.has_tls = true;
        header.tls = (struct proxy_tls){ .client = PROXY_TLS_CLIENT, .verify = 1 };
    }
    if (client && client->stream)
        header.authority = stream_asked_name(client->stream);
    size_t length = proxy_header_write(&header, out);
    MUST(length > 0); /* names and texts have caps of their own, far below */
    return length;
}
