/* SPDX-License-Identifier: Apache-2.0
 *
 * Which names lead out onto the network: by their protocol, or by the driver inside json:.
 */
#include "remote.h"

#include <string.h>

#include "resolve_options.h"

static const char *const protocols[] = {
    "nbd",          "nbd+tcp", "nbd+unix", "http",  "https",   "ftp",         "ftps",
    "tftp",         "ssh",     "rbd",      "iscsi", "gluster", "gluster+tcp", "gluster+unix",
    "gluster+rdma", "nfs",     "sheepdog", "vxhs",  "nvme",
};

static bool is_protocol(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
        if (strlen(protocols[i]) == len && strncmp(protocols[i], name, len) == 0)
            return true;
    return false;
}

/* Is @name the driver at one of the places where that of a file may stand? NULL: is any of the
 * network's? */
static bool has_driver(const struct block_option_vec *options, const char *name)
{
    static const char *const places[] = { "driver", "file.driver", "file.file.driver" };
    for (size_t i = 0; i < options->count; i++) {
        const struct block_option *o = &options->items[i];
        for (size_t p = 0; o->value && p < sizeof(places) / sizeof(places[0]); p++)
            if (strcmp(places[p], o->key) == 0 &&
                (name ? strcmp(name, o->value) == 0 : is_protocol(o->value, strlen(o->value))))
                return true;
    }
    return false;
}

static bool json_is_remote(const char *text)
{
    struct block_option_vec options = { 0 };
    struct qimg_error unheard;
    const bool remote =
        block_options_from_json(text, &options, &unheard) == 0 && has_driver(&options, NULL);
    block_options_release(&options);
    return remote;
}

bool remote_is(const char *recorded)
{
    if (!resolve_has_protocol(recorded))
        return false;
    if (strncmp(recorded, "json:", 5) == 0)
        return json_is_remote(recorded + 5);
    return is_protocol(recorded, strcspn(recorded, ":"));
}

/* --- credentials ------------------------------------------------------------------------------ */

/* "scheme://user@host/path" */
static bool uri_has_user(const char *name)
{
    const char *authority = strstr(name, "://");
    if (!authority)
        return false;
    authority += 3;
    return memchr(authority, '@', strcspn(authority, "/?#")) != NULL;
}

/* The "user" of nfs is a number, and no secret. */
static bool is_secret(const char *key, bool nfs)
{
    static const char *const secrets[] = { "username", "password", "cookie", "user" };
    const char *dot = strrchr(key, '.');
    const char *last = dot ? dot + 1 : key;
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]) - nfs; i++)
        if (strcmp(secrets[i], last) == 0)
            return true;
    return false;
}

static bool json_has_secrets(const char *text)
{
    struct block_option_vec options = { 0 };
    struct qimg_error unheard;
    bool secret = false;
    if (block_options_from_json(text, &options, &unheard) == 0) {
        const bool nfs = has_driver(&options, "nfs");
        for (size_t i = 0; i < options.count; i++) {
            const struct block_option *o = &options.items[i];
            secret |= is_secret(o->key, nfs) || (o->value && uri_has_user(o->value));
        }
    }
    block_options_release(&options);
    return secret;
}

bool remote_has_credentials(const char *recorded)
{
    if (strncmp(recorded, "json:", 5) == 0)
        return json_has_secrets(recorded + 5);
    return resolve_has_protocol(recorded) && uri_has_user(recorded);
}
