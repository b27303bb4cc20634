/* SPDX-License-Identifier: Apache-2.0
 *
 * A place on the network as json:{...} names it: one reader for each of QEMU's drivers.
 */
#include "remote_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "resolve_options.h"
#include "size.h"
#include "str.h"

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
        return values[3] ? remote_add_socket(out, values[3], strlen(values[3])) : -EINVAL;
    if (!values[1])
        return -EINVAL;
    struct remote_host host = { 0 };
    if (remote_set_text(&host.name, values[1]) < 0 || remote_set_text(&host.port, values[2]) < 0) {
        remote_host_release(&host);
        return -ENOMEM;
    }
    return remote_add_host(out, host);
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
    return path ? remote_set_text(&out->name, *path == '/' ? path + 1 : path) : -EINVAL;
}

static int set_number(char **slot, const char *number)
{
    return number && !remote_is_number(number) ? -EINVAL : remote_set_text(slot, number);
}

static int json_url(const struct json_place *place, struct remote *out)
{
    const char *url = get(place, "url"), *verify = get(place, "sslverify");
    if (!url || !strstr(url, "://"))
        return -EINVAL;
    free(TAKE(out->protocol));
    TRY(remote_read_uri(url, out));
    if (verify)
        TRY(remote_set_text(&out->verify, strcmp(verify, "off") == 0 ? "no" : "yes"));
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
    return remote_add_authority(out, portal, strlen(portal), NULL);
}

/* libvirt tells numbers from names by a "+". */
static int set_id(char **slot, const char *number)
{
    if (number && !remote_is_number(number))
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
    TRY(remote_set_text(&out->snapshot, get(place, "snapshot")));
    TRY(remote_set_text(&out->config, get(place, "conf")));
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
    TRY(remote_set_text(&out->name, get(place, "export")));
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
    TRY(remote_set_text(&out->protocol, driver));
    TRY(json_slice(place, out));
    return found->read(place, out);
}

int remote_read_json(const char *text, struct remote *out, struct qimg_error *err)
{
    struct json_place place = { 0 };
    int rc = block_options_from_json(text, &place.options, err);
    if (rc == 0)
        rc = read_place(&place, out);
    block_options_release(&place.options);
    return rc;
}

bool remote_has_reader(const char *protocol)
{
    return find_driver(protocol) != NULL;
}
