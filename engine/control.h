/*
 * control: the engine's side of the control socket.
 *
 * A unix stream socket on the control thread's ring, mode from the configuration. A client sends one frame (control_wire.h), is answered with one or
 * more frames, and may send the next. Hostile clients: at most CONTROL_CLIENTS at once, a frame at most
 * CONTROL_FRAME_BYTES, CONTROL_IDLE_MS to send a whole frame or to take an answer; a malformed frame is answered with an error
 * frame if possible and the client is closed. None of it can delay a request: workers are not involved but by letters.
 */
#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H

#include "engine/server.h"

#define CONTROL_CLIENTS 32u
#define CONTROL_FRAME_BYTES (64u * 1024u)
#define CONTROL_IDLE_MS 10000u

struct control;

/* Binds and listens; a stale socket file (nobody answers) is replaced, a live one is ERR_EXISTS. ERR_PERMISSION, ERR_SYSTEM. why: for the log. */
enum err must_use control_open(struct control **control, struct server_process *process, struct slice path, uint32_t mode,
                               char why[256]);
/* Closes all; removes the socket file. Call once the loop has stopped dispatching. */
void control_close(struct control *control);

#endif
