/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the three spellings of a place on the network: SCHEME://HOST:PORT/PATH?QUERY, the older
 * nbd:HOST:PORT:... and rbd:POOL/IMAGE:..., and json:{...}. What libvirt would not read, or could
 * not write down, is refused; default ports are filled in, as libvirt does.
 */
#include "remote.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "resolve_options.h"
#include "size.h"
#include "str.h"

static const struct port {
    const char *protocol, *port;
} default_ports[] = {
    { "http", "80" },  { "https", "443" },  { "ftp", "21" },
    { "ftps", "990" }, { "tftp", "69" },    { "nbd", "10809" },
    { "ssh", "22" },   { "iscsi", "3260" }, { "gluster", "24007" },
};

static void release_host(struct remote_host *host)
{
    free(host->transport);
    free(host->name);
    free(host->port);
    free(host->socket);
}

void remote_release(struct remote *remote)
{
    char *const texts[] = { remote->protocol,  remote->name,   remote->query, remote->snapshot,
                            remote->config,    remote->user,   remote->group, remote->verify,
                            remote->readahead, remote->timeout };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < remote->hosts.count; i++)
        release_host(&remote->hosts.items[i]);
    remote_host_vec_release(&remote->hosts);
    *remote = (struct remote){ 0 };
}

/* --- parts ------------------------------------------------------------------------------------ */

/* Copies @len bytes of @text, or none where @text is NULL; what was said last counts. */
static int set_part(char **slot, const char *text, size_t len)
{
    if (!text)
        return 0;
    free(*slot);
    *slot = strndup(text, len);
    return *slot ? 0 : -ENOMEM;
}

static int set_text(char **slot, const char *text)
{
    return set_part(slot, text, text ? strlen(text) : 0);
}

static const char *default_port(const char *protocol)
{
    for (size_t i = 0; i < ARRAY_COUNT(default_ports); i++)
        if (strcmp(default_ports[i].protocol, protocol) == 0)
            return default_ports[i].port;
    return NULL;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool is_made_of(const char *text, const char *allowed)
{
    return *text != '\0' && strspn(text, allowed) == strlen(text);
}

static bool is_number(const char *text)
{
    return is_made_of(text, "0123456789");
}

/* What libvirt's schema takes for a host: a name or an address, and a socket's path from the root.
 */
static bool is_sound_host(const struct remote_host *host)
{
    struct in6_addr address;
    if (host->socket)
        return *host->socket == '/';
    if (!host->name || (host->port && !is_number(host->port)))
        return false;
    return is_made_of(host->name, LETTERS ".-") || inet_pton(AF_INET6, host->name, &address) == 1;
}

static bool is_sound(const struct remote *remote)
{
    if (remote->config && *remote->config != '/')
        return false;
    return !remote->snapshot || is_made_of(remote->snapshot, LETTERS "_+-");
}

/* Takes over what is in @host. */
static int add_host(struct remote *remote, struct remote_host host)
{
    int rc = is_sound_host(&host) ? 0 : -EINVAL;
    if (rc == 0 && !host.port && !host.socket)
        rc = set_text(&host.port, default_port(remote->protocol));
    if (rc == 0)
        rc = remote_host_vec_push(&remote->hosts, host);
    if (rc < 0)
        release_host(&host);
    return rc;
}

static int add_socket(struct remote *remote, const char *path, size_t len)
{
    struct remote_host host = { .transport = strdup("unix"), .socket = strndup(path, len) };
    if (host.transport && host.socket)
        return add_host(remote, host);
    release_host(&host);
    return -ENOMEM;
}

/* "host", "host:port", "[::1]:port" */
static int add_authority(struct remote *remote, const char *text, size_t len, const char *transport)
{
    struct remote_host host = { 0 };
    const char *end = text + len, *name = text, *name_end, *port = NULL;
    if (len > 0 && *text == '[') {
        name = text + 1;
        name_end = memchr(text, ']', len);
        if (!name_end)
            return -EINVAL;
        if (name_end + 1 < end && name_end[1] == ':')
            port = name_end + 2;
    } else {
        name_end = memchr(text, ':', len);
        if (name_end)
            port = name_end + 1;
        else
            name_end = end;
    }
    if (name_end == name)
        return -EINVAL;
    if (set_part(&host.name, name, (size_t)(name_end - name)) < 0 ||
        (port && port < end && set_part(&host.port, port, (size_t)(end - port)) < 0) ||
        (transport && set_text(&host.transport, transport) < 0)) {
        release_host(&host);
        return -ENOMEM;
    }
    return add_host(remote, host);
}

/* --- SCHEME://... --------------------------------------------------------------------------- */

/* "gluster+unix" -> protocol "gluster", transport "unix" */
static int read_scheme(const char *name, size_t len, struct remote *out, char **transport)
{
    const char *plus = memchr(name, '+', len);
    const size_t word = plus ? (size_t)(plus - name) : len;
    TRY(set_part(&out->protocol, name, word));
    if (plus && len - word - 1 != 3) /* "tcp" is the default */
        TRY(set_part(transport, plus + 1, len - word - 1));
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

static int read_uri(const char *name, struct remote *out)
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
        TRY(set_part(&out->name, path + 1, path_len - 1));
    if (over_http && query)
        TRY(set_text(&out->query, query + 1));
    if (transport && strcmp(transport, "unix") == 0)
        return socket ? add_socket(out, socket, socket_len) : -EINVAL;
    return add_authority(out, authority, authority_len, transport);
}

/* --- nbd:..., rbd:... ------------------------------------------------------------------------- */

/* nbd:HOST:PORT[:exportname=E], nbd:unix:SOCKET[:exportname=E] */
static int read_old_nbd(const char *rest, struct remote *out)
{
    const char *export = strstr(rest, ":exportname=");
    const size_t len = export ? (size_t)(export - rest) : strlen(rest);
    TRY(set_text(&out->protocol, "nbd"));
    if (export && export[strlen(":exportname=")])
        TRY(set_text(&out->name, export + strlen(":exportname=")));
    if (strncmp(rest, "unix:", 5) == 0)
        return len > 5 ? add_socket(out, rest + 5, len - 5) : -EINVAL;
    return add_authority(out, rest, len, NULL);
}

/* One monitor of mon_host=: "host" or "host\:port", unescaped. */
static int add_monitor(struct remote *out, const char *text, size_t len)
{
    struct str plain = { 0 };
    for (size_t i = 0; i < len; i++)
        if (text[i] != '\\')
            str_append(&plain, text + i, 1);
    AUTO_FREE char *host = str_take(&plain);
    return host ? add_authority(out, host, strlen(host), NULL) : -ENOMEM;
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
    TRY(set_text(&out->protocol, "rbd"));
    TRY(set_part(&out->name, rest, image_len));
    if (at)
        TRY(set_part(&out->snapshot, at + 1, name_len - image_len - 1));
    for (const char *p = rest + name_len; *p == ':';) {
        const char *option = p + 1;
        const size_t len = option_length(option);
        if (strncmp(option, "mon_host=", 9) == 0)
            TRY(read_monitors(option + 9, len - 9, out));
        else if (strncmp(option, "conf=", 5) == 0)
            TRY(set_part(&out->config, option + 5, len - 5));
        p = option + len;
    }
    return 0;
}

/* --- json:{...} ----------------------------------------------------------------------------- */

struct json_place {
    struct block_option_vec options;
    const char *prefix; /* of the keys of the network driver: "" or "file." */
};

static const char *get(const struct json_place *place, const char *key)
{
    const size_t skip = strlen(place->prefix);
    for (size_t i = 0; i < place->options.count; i++) {
        const struct block_option *o = &place->options.items[i];
        if (strncmp(o->key, place->prefix, skip) == 0 && strcmp(o->key + skip, key) == 0)
            return o->value;
    }
    return NULL;
}

/* @prefix "", "server." or "server.0." */
static int json_server(const struct json_place *place, const char *prefix, struct remote *out)
{
    char key[64];
    const char *values[4];
    static const char *const names[] = { "type", "host", "port", "path" };
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(key, sizeof(key), "%s%s", prefix, names[i]);
        values[i] = get(place, key);
    }
    const bool by_socket = values[0] ? strcmp(values[0], "unix") == 0 : !values[1];
    if (by_socket && !values[3]) {
        (void)snprintf(key, sizeof(key), "%ssocket", prefix);
        values[3] = get(place, key);
    }
    if (by_socket)
        return values[3] ? add_socket(out, values[3], strlen(values[3])) : -EINVAL;
    if (!values[1])
        return -EINVAL;
    struct remote_host host = { 0 };
    if (set_text(&host.name, values[1]) < 0 || set_text(&host.port, values[2]) < 0) {
        release_host(&host);
        return -ENOMEM;
    }
    return add_host(out, host);
}

static int json_servers(const struct json_place *place, struct remote *out)
{
    char prefix[32];
    for (unsigned i = 0; i < 64; i++) {
        char key[48];
        (void)snprintf(prefix, sizeof(prefix), "server.%u.", i);
        (void)snprintf(key, sizeof(key), "%shost", prefix);
        const bool by_host = get(place, key) != NULL;
        (void)snprintf(key, sizeof(key), "%stype", prefix);
        if (!by_host && !get(place, key))
            break;
        TRY(json_server(place, prefix, out));
    }
    return 0;
}

static int json_one_server(const struct json_place *place, struct remote *out)
{
    const bool nested =
        get(place, "server.host") || get(place, "server.path") || get(place, "server.type");
    return json_server(place, nested ? "server." : "", out);
}

static int json_path(const char *path, struct remote *out)
{
    return path ? set_text(&out->name, *path == '/' ? path + 1 : path) : -EINVAL;
}

static int set_number(char **slot, const char *number)
{
    return number && !is_number(number) ? -EINVAL : set_text(slot, number);
}

static int json_url(const struct json_place *place, struct remote *out)
{
    const char *url = get(place, "url"), *verify = get(place, "sslverify");
    if (!url || !strstr(url, "://"))
        return -EINVAL;
    free(TAKE(out->protocol));
    TRY(read_uri(url, out));
    if (verify)
        TRY(set_text(&out->verify, strcmp(verify, "off") == 0 ? "no" : "yes"));
    TRY(set_number(&out->readahead, get(place, "readahead")));
    return set_number(&out->timeout, get(place, "timeout"));
}

static int json_two(const char *a, const char *b, struct remote *out)
{
    if (!a || !b)
        return -EINVAL;
    out->name = str_format("%s/%s", a, b);
    return out->name ? 0 : -ENOMEM;
}

static int json_iscsi(const struct json_place *place, struct remote *out)
{
    const char *portal = get(place, "portal"), *lun = get(place, "lun");
    if (!portal)
        return -EINVAL;
    TRY(json_two(get(place, "target"), lun ? lun : "0", out));
    return add_authority(out, portal, strlen(portal), NULL);
}

/* libvirt tells numbers from names by a "+". */
static int set_id(char **slot, const char *number)
{
    if (number && !is_number(number))
        return -EINVAL;
    *slot = number ? str_format("+%s", number) : NULL;
    return number && !*slot ? -ENOMEM : 0;
}

static int json_nfs(const struct json_place *place, struct remote *out)
{
    TRY(json_path(get(place, "path"), out));
    TRY(set_id(&out->user, get(place, "user")));
    TRY(set_id(&out->group, get(place, "group")));
    return json_one_server(place, out);
}

static int json_rbd(const struct json_place *place, struct remote *out)
{
    TRY(json_two(get(place, "pool"), get(place, "image"), out));
    TRY(set_text(&out->snapshot, get(place, "snapshot")));
    TRY(set_text(&out->config, get(place, "conf")));
    return json_servers(place, out);
}

static int json_gluster(const struct json_place *place, struct remote *out)
{
    const char *path = get(place, "path");
    TRY(json_two(get(place, "volume"), path && *path == '/' ? path + 1 : path, out));
    TRY(json_servers(place, out));
    return out->hosts.count > 0 ? 0 : -EINVAL;
}

static int json_nbd(const struct json_place *place, struct remote *out)
{
    TRY(set_text(&out->name, get(place, "export")));
    return json_one_server(place, out);
}

static int json_ssh(const struct json_place *place, struct remote *out)
{
    TRY(json_path(get(place, "path"), out));
    return json_server(place, get(place, "server.host") ? "server." : "", out);
}

static const struct json_driver {
    const char *name;
    int (*read)(const struct json_place *place, struct remote *out);
} drivers[] = {
    { "nbd", json_nbd }, { "http", json_url },        { "https", json_url },
    { "ftp", json_url }, { "ftps", json_url },        { "tftp", json_url },
    { "ssh", json_ssh }, { "iscsi", json_iscsi },     { "nfs", json_nfs },
    { "rbd", json_rbd }, { "gluster", json_gluster },
};

static int json_slice(const struct json_place *place, struct remote *out)
{
    const struct json_place whole = { .options = place->options, .prefix = "" };
    const char *offset = get(&whole, "offset"), *size = get(&whole, "size");
    if (*place->prefix == '\0' || (!offset && !size))
        return 0;
    if ((offset && size_parse(offset, &out->slice.off) < 0) || !size ||
        size_parse(size, &out->slice.len) < 0)
        return -EINVAL;
    out->has_slice = true;
    return 0;
}

static const struct json_driver *find_driver(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(drivers); i++)
        if (strcmp(drivers[i].name, name) == 0)
            return &drivers[i];
    return NULL;
}

/* The network's driver stands at the top, or below one raw format. */
static int read_place(struct json_place *place, struct remote *out)
{
    place->prefix = "";
    const char *driver = get(place, "driver");
    if (!driver || strcmp(driver, "raw") == 0) {
        place->prefix = "file.";
        driver = get(place, "driver");
    }
    const struct json_driver *found = driver ? find_driver(driver) : NULL;
    if (!found)
        return -EINVAL;
    TRY(set_text(&out->protocol, driver));
    TRY(json_slice(place, out));
    return found->read(place, out);
}

static int read_json(const char *text, struct remote *out, struct qimg_error *err)
{
    struct json_place place = { 0 };
    int rc = block_options_from_json(text, &place.options, err);
    if (rc == 0)
        rc = read_place(&place, out);
    block_options_release(&place.options);
    return rc;
}

/* --- any ------------------------------------------------------------------------------------ */

static int read_any(const char *recorded, struct remote *out, struct qimg_error *err)
{
    if (strncmp(recorded, "json:", 5) == 0)
        return read_json(recorded + 5, out, err);
    const char *colon = strchr(recorded, ':');
    if (colon && strncmp(colon, "://", 3) == 0)
        return read_uri(recorded, out);
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
    if (rc == 0 && (!find_driver(remote.protocol) || !is_sound(&remote)))
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
