/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a place on the network in the spellings that are text, SCHEME://HOST:PORT/PATH?QUERY and
 * the older nbd:HOST:PORT:... and rbd:POOL/IMAGE:..., and choosing among all. What libvirt would
 * not read, or could not write down, is refused.
 */
#include "remote_parts.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "str.h"

/* --- SCHEME://... --------------------------------------------------------------------------- */

/* "gluster+unix" -> protocol "gluster", transport "unix" */
static int read_scheme(const char *name, size_t len, struct remote *out, char **transport)
{
    const char *plus = memchr(name, '+', len);
    const size_t word = plus ? (size_t)(plus - name) : len;
    TRY(remote_set_part(&out->protocol, name, word));
    if (plus && strncmp(plus, "+tcp:", 5) != 0) /* tcp is the default */
        TRY(remote_set_part(transport, plus + 1, len - word - 1));
    return 0;
}

/* The value of "socket=" in a query. */
static const char *socket_of(const char *query, size_t *len)
{
    const char *found = query ? strstr(query, "socket=") : NULL;
    if (!found)
        return NULL;
    found += strlen("socket=");
    *len = strcspn(found, "&");
    return found;
}

int remote_read_uri(const char *name, struct remote *out)
{
    AUTO_FREE char *transport = NULL;
    const char *authority = strstr(name, "://");
    TRY(read_scheme(name, (size_t)(authority - name), out, &transport));
    authority += 3;
    const size_t authority_len = strcspn(authority, "/?");
    const char *path = authority + authority_len;
    const char *query = strchr(path, '?');
    const size_t path_len = query ? (size_t)(query - path) : strlen(path);
    size_t socket_len = 0;
    const char *socket = socket_of(query, &socket_len);
    const bool over_http = strncmp(out->protocol, "http", 4) == 0;
    if (path_len > 1 || (path_len == 1 && strcmp(out->protocol, "nbd") != 0))
        TRY(remote_set_part(&out->name, path + 1, path_len - 1));
    if (over_http && query)
        TRY(remote_set_text(&out->query, query + 1));
    if (transport && strcmp(transport, "unix") == 0)
        return socket ? remote_add_socket(out, socket, socket_len) : -EINVAL;
    return remote_add_authority(out, authority, authority_len, transport);
}

/* --- nbd:..., rbd:... ------------------------------------------------------------------------- */

/* nbd:HOST:PORT[:exportname=E], nbd:unix:SOCKET[:exportname=E] */
static int read_old_nbd(const char *rest, struct remote *out)
{
    const char *export = strstr(rest, ":exportname=");
    const size_t len = export ? (size_t)(export - rest) : strlen(rest);
    TRY(remote_set_text(&out->protocol, "nbd"));
    if (export && export[strlen(":exportname=")])
        TRY(remote_set_text(&out->name, export + strlen(":exportname=")));
    if (strncmp(rest, "unix:", 5) == 0)
        return len > 5 ? remote_add_socket(out, rest + 5, len - 5) : -EINVAL;
    return remote_add_authority(out, rest, len, NULL);
}

/* One monitor of mon_host=: "host" or "host\:port", unescaped. */
static int add_monitor(struct remote *out, const char *text, size_t len)
{
    struct str plain = { 0 };
    for (size_t i = 0; i < len; i++)
        if (text[i] != '\\')
            str_append(&plain, text + i, 1);
    AUTO_FREE char *host = str_take(&plain);
    return host ? remote_add_authority(out, host, strlen(host), NULL) : -ENOMEM;
}

/* Hosts stand apart by "\;", "\," or "\ ". */
static int read_monitors(const char *text, size_t len, struct remote *out)
{
    size_t begin = 0;
    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] != '\\' || !strchr(";, ", text[i + 1]))
            continue;
        TRY(add_monitor(out, text + begin, i - begin));
        begin = i + 2;
    }
    return begin < len ? add_monitor(out, text + begin, len - begin) : 0;
}

/* The length of one "key=value" up to a ':' without '\' before it. */
static size_t option_length(const char *text)
{
    size_t len = 0;
    while (text[len] && text[len] != ':')
        len += text[len] == '\\' && text[len + 1] ? 2 : 1;
    return len;
}

/* rbd:POOL/IMAGE[@SNAPSHOT][:key=value...] */
static int read_old_rbd(const char *rest, struct remote *out)
{
    const size_t name_len = option_length(rest);
    const char *at = memchr(rest, '@', name_len);
    const size_t image_len = at ? (size_t)(at - rest) : name_len;
    TRY(remote_set_text(&out->protocol, "rbd"));
    TRY(remote_set_part(&out->name, rest, image_len));
    if (at)
        TRY(remote_set_part(&out->snapshot, at + 1, name_len - image_len - 1));
    for (const char *p = rest + name_len; *p == ':';) {
        const char *option = p + 1;
        const size_t len = option_length(option);
        if (strncmp(option, "mon_host=", 9) == 0)
            TRY(read_monitors(option + 9, len - 9, out));
        else if (strncmp(option, "conf=", 5) == 0)
            TRY(remote_set_part(&out->config, option + 5, len - 5));
        p = option + len;
    }
    return 0;
}

/* --- any ------------------------------------------------------------------------------------ */

static int read_any(const char *recorded, struct remote *out, struct qimg_error *err)
{
    if (strncmp(recorded, "json:", 5) == 0)
        return remote_read_json(recorded + 5, out, err);
    const char *colon = strchr(recorded, ':');
    if (colon && strncmp(colon, "://", 3) == 0)
        return remote_read_uri(recorded, out);
    if (strncmp(recorded, "nbd:", 4) == 0)
        return read_old_nbd(recorded + 4, out);
    if (strncmp(recorded, "rbd:", 4) == 0)
        return read_old_rbd(recorded + 4, out);
    return -EINVAL;
}

int remote_read(const char *recorded, struct remote *out, struct qimg_error *err)
{
    struct remote remote = { 0 };
    qimg_error_clear(err);
    int rc = read_any(recorded, &remote, err);
    if (rc == 0 && (!remote_has_reader(remote.protocol) || !remote_is_sound(&remote)))
        rc = -EINVAL;
    if (rc == 0) {
        *out = remote;
        return 0;
    }
    remote_release(&remote);
    if (rc == -ENOMEM)
        return qimg_fail_memory(err);
    return qimg_fail(err, EINVAL, "libvirt has no words for this name");
}
