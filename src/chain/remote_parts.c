/* SPDX-License-Identifier: Apache-2.0
 *
 * See remote_parts.h. Default ports are filled in, as libvirt does.
 */
#include "remote_parts.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

void remote_host_release(struct remote_host *host)
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
        remote_host_release(&remote->hosts.items[i]);
    remote_host_vec_release(&remote->hosts);
    *remote = (struct remote){ 0 };
}

/* --- texts ------------------------------------------------------------------------------------ */

int remote_set_part(char **slot, const char *text, size_t len)
{
    if (!text)
        return 0;
    free(*slot);
    *slot = strndup(text, len);
    return *slot ? 0 : -ENOMEM;
}

int remote_set_text(char **slot, const char *text)
{
    return remote_set_part(slot, text, text ? strlen(text) : 0);
}

static bool is_made_of(const char *text, const char *allowed)
{
    return *text != '\0' && strspn(text, allowed) == strlen(text);
}

bool remote_is_number(const char *text)
{
    return is_made_of(text, "0123456789");
}

bool remote_is_sound(const struct remote *remote)
{
    if (remote->config && *remote->config != '/')
        return false;
    return !remote->snapshot || is_made_of(remote->snapshot, ALNUM "_+-");
}

/* --- hosts ------------------------------------------------------------------------------------ */

static const struct port {
    const char *protocol, *port;
} default_ports[] = {
    { "http", "80" },  { "https", "443" },  { "ftp", "21" },
    { "ftps", "990" }, { "tftp", "69" },    { "nbd", "10809" },
    { "ssh", "22" },   { "iscsi", "3260" }, { "gluster", "24007" },
};

static const char *default_port(const char *protocol)
{
    for (size_t i = 0; i < ARRAY_COUNT(default_ports); i++)
        if (strcmp(default_ports[i].protocol, protocol) == 0)
            return default_ports[i].port;
    return NULL;
}

/* What libvirt's schema takes for a host: a name or an address, by TCP or RDMA; for a socket, its
 * path from the root. */
static bool is_sound_host(const struct remote_host *host)
{
    struct in6_addr address;
    if (host->socket)
        return *host->socket == '/';
    if (!host->name || (host->port && !remote_is_number(host->port)))
        return false;
    if (host->transport && strcmp(host->transport, "rdma") != 0)
        return false;
    return is_made_of(host->name, ALNUM ".-") || inet_pton(AF_INET6, host->name, &address) == 1;
}

int remote_add_host(struct remote *remote, struct remote_host host)
{
    int rc = is_sound_host(&host) ? 0 : -EINVAL;
    if (rc == 0 && !host.port && !host.socket)
        rc = remote_set_text(&host.port, default_port(remote->protocol));
    if (rc == 0)
        rc = remote_host_vec_push(&remote->hosts, host);
    if (rc < 0)
        remote_host_release(&host);
    return rc;
}

int remote_add_socket(struct remote *remote, const char *path, size_t len)
{
    struct remote_host host = { .transport = strdup("unix"), .socket = strndup(path, len) };
    if (host.transport && host.socket)
        return remote_add_host(remote, host);
    remote_host_release(&host);
    return -ENOMEM;
}

int remote_add_authority(struct remote *remote, const char *text, size_t len, const char *transport)
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
    if (remote_set_part(&host.name, name, (size_t)(name_end - name)) < 0 ||
        (port && port < end && remote_set_part(&host.port, port, (size_t)(end - port)) < 0) ||
        (transport && remote_set_text(&host.transport, transport) < 0)) {
        remote_host_release(&host);
        return -ENOMEM;
    }
    return remote_add_host(remote, host);
}
