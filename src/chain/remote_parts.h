/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files that read a struct remote: its parts, put in one by one, and refused (-EINVAL)
 * where libvirt's schema would refuse them. All return 0, -EINVAL or -ENOMEM.
 */
#ifndef CHAIN_REMOTE_PARTS_H
#define CHAIN_REMOTE_PARTS_H

#include "remote.h"

/* Copies @len bytes of @text into *slot, whose old text goes; nothing where @text is NULL. */
MUST_CHECK int remote_set_part(char **slot, const char *text, size_t len);
MUST_CHECK int remote_set_text(char **slot, const char *text);

bool remote_is_number(const char *text);

/* Takes over what is in @host. */
MUST_CHECK int remote_add_host(struct remote *remote, struct remote_host host);
MUST_CHECK int remote_add_socket(struct remote *remote, const char *path, size_t len);

/* "host", "host:port" or "[::1]:port". @transport NULL: tcp. */
MUST_CHECK int remote_add_authority(struct remote *remote, const char *text, size_t len,
                                    const char *transport);

void remote_host_release(struct remote_host *host);

/* Would libvirt take the texts that no host has? */
bool remote_is_sound(const struct remote *remote);

/* remote_read.c: "SCHEME://HOST:PORT/PATH?QUERY". */
MUST_CHECK int remote_read_uri(const char *name, struct remote *out);

/* remote_json.c: what follows "json:". @err is filled where the text is no JSON. */
MUST_CHECK int remote_read_json(const char *text, struct remote *out, struct qimg_error *err);

/* Is @protocol one that libvirt knows, too? */
bool remote_has_reader(const char *protocol);

#endif
