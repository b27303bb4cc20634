/* SPDX-License-Identifier: Apache-2.0
 *
 * A chain as libvirt's <disk>:
 *
 *     <disk> <driver type=/> <source>       the top image
 *       <backingStore type=>                each image below: <format/>, <source/>, and inside it
 *         ...                               the next; last of all an empty one, where the end is
 *       </backingStore>                     known
 *     <target/> </disk>
 *
 * An image is written only if it is certain: its format was given, recorded or accepted from a
 * probe, and what is there bears it out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "cleanup.h"
#include "fail.h"
#include "finding.h"
#include "remote.h"
#include "xml.h"

#define LIBVIRT_DEPTH 200

/* --- certainty ------------------------------------------------------------------------------ */

static bool libvirt_knows(const char *format)
{
    static const char *const known[] = { "raw", "bochs", "cloop", "dmg",  "vpc",
                                         "vdi", "qcow",  "qed",   "vmdk", "qcow2" };
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (strcmp(known[i], format) == 0)
            return true;
    return false;
}

static int refuse(const struct qimg_chain_image *image, int code, const char *why,
                  struct qimg_error *err)
{
    AUTO_FREE char *name = finding_show(image->name);
    return name ? qimg_fail(err, code, "image %s %s", name, why) : qimg_fail_memory(err);
}

/* Can this image be written for libvirt? */
static int check_image(const struct qimg_chain_image *image, struct qimg_error *err)
{
    const struct qimg_chain_image *data = image->data_file.image;
    if (image->state == QIMG_CHAIN_UNREAD)
        return refuse(image, EBADMSG, "has no recorded format", err);
    if (image->state != QIMG_CHAIN_READ && image->state != QIMG_CHAIN_UNSUPPORTED &&
        image->state != QIMG_CHAIN_REMOTE)
        return refuse(image, EBADMSG, image->problem, err);
    if (!image->format)
        return refuse(image, EBADMSG, "has no recorded format", err);
    if (!libvirt_knows(image->format))
        return refuse(image, EINVAL, "has a format that libvirt does not know", err);
    if (image->data_file.recorded && (!data || data->state != QIMG_CHAIN_READ))
        return refuse(image, EBADMSG, "has a data file that cannot be read", err);
    if (image->state == QIMG_CHAIN_REMOTE && remote_has_credentials(image->name))
        return refuse(image, EINVAL,
                      "is named with a user or a password, which belong into "
                      "libvirt's secrets",
                      err);
    return 0;
}

/* How many images of the chain, from the top, are certain. */
static int count_certain(const struct qimg_chain *chain, bool partial, size_t *count,
                         struct qimg_error *err)
{
    if (chain->count > LIBVIRT_DEPTH)
        return qimg_fail(err, EINVAL, "the chain has %zu images; libvirt refuses more than %d",
                         chain->count, LIBVIRT_DEPTH);
    for (*count = 0; *count < chain->count; (*count)++) {
        const int rc = check_image(chain->images[*count], err);
        if (rc < 0)
            return partial && *count > 0 && rc != -ENOMEM ? 0 : rc;
    }
    if (partial || chain->end == QIMG_CHAIN_COMPLETE || chain->end == QIMG_CHAIN_NOT_VISITED ||
        chain->end == QIMG_CHAIN_BROKEN) /* by a format that we do not read */
        return 0;
    return refuse(chain->images[chain->count - 1], EBADMSG,
                  chain->end == QIMG_CHAIN_LOOP ? "leads back into its own chain"
                                                : "leads deeper than --max-depth allows",
                  err);
}

/* --- writing ---------------------------------------------------------------------------------- */

struct disk {
    struct xml xml;
    const char **needs_new;
    bool numbered;
    unsigned number; /* that was given last */
};

/* libvirt's number of what follows: along the chain from 1, a data file right behind its image. */
static void put_number(struct disk *d)
{
    char text[16];
    if (!d->numbered)
        return;
    (void)snprintf(text, sizeof(text), "%u", ++d->number);
    xml_attribute(&d->xml, "index", text);
}

/* --- sources ---------------------------------------------------------------------------------- */

static void put_slice(struct xml *xml, struct qimg_range slice)
{
    char off[24], len[24];
    (void)snprintf(off, sizeof(off), "%" PRIu64, slice.off);
    (void)snprintf(len, sizeof(len), "%" PRIu64, slice.len);
    xml_begin(xml, "slices");
    xml_open_end(xml);
    xml_begin(xml, "slice");
    xml_attribute(xml, "type", "storage");
    xml_attribute(xml, "offset", off);
    xml_attribute(xml, "size", len);
    xml_empty_end(xml);
    xml_close(xml, "slices");
}

static void put_one(struct xml *xml, const char *element, const char *name, const char *value)
{
    if (!value)
        return;
    xml_begin(xml, element);
    xml_attribute(xml, name, value);
    xml_empty_end(xml);
}

static void put_host(struct xml *xml, const struct remote_host *host)
{
    xml_begin(xml, "host");
    xml_attribute(xml, "name", host->name);
    xml_attribute(xml, "port", host->port);
    xml_attribute(xml, "transport", host->transport);
    xml_attribute(xml, "socket", host->socket);
    xml_empty_end(xml);
}

/* The schema wants it of every place on NFS, empty or not. */
static void put_identity(struct xml *xml, const struct remote *remote)
{
    if (strcmp(remote->protocol, "nfs") != 0)
        return;
    xml_begin(xml, "identity");
    xml_attribute(xml, "user", remote->user);
    xml_attribute(xml, "group", remote->group);
    xml_empty_end(xml);
}

static void put_remote(struct disk *d, const struct remote *remote, bool numbered)
{
    struct xml *xml = &d->xml;
    xml_begin(xml, "source");
    xml_attribute(xml, "protocol", remote->protocol);
    xml_attribute(xml, "name", remote->name);
    xml_attribute(xml, "query", remote->query);
    if (numbered)
        put_number(d);
    xml_open_end(xml);
    for (size_t i = 0; i < remote->hosts.count; i++)
        put_host(xml, &remote->hosts.items[i]);
    put_identity(xml, remote);
    put_one(xml, "snapshot", "name", remote->snapshot);
    put_one(xml, "config", "file", remote->config);
    if (remote->has_slice)
        put_slice(xml, remote->slice);
    put_one(xml, "ssl", "verify", remote->verify);
    put_one(xml, "readahead", "size", remote->readahead);
    put_one(xml, "timeout", "seconds", remote->timeout);
    xml_close(xml, "source");
}

static const char *type_of(const struct qimg_chain_image *image)
{
    if (image->state == QIMG_CHAIN_REMOTE)
        return "network";
    return image->file.is_device ? "block" : "file";
}

static void put_local(struct disk *d, const struct qimg_chain_image *image, bool numbered);

static void put_data_store(struct disk *d, const struct qimg_chain_image *data)
{
    xml_begin(&d->xml, "dataStore");
    xml_attribute(&d->xml, "type", type_of(data));
    xml_open_end(&d->xml);
    put_one(&d->xml, "format", "type", "raw");
    put_local(d, data, true);
    xml_close(&d->xml, "dataStore");
}

static void put_local(struct disk *d, const struct qimg_chain_image *image, bool numbered)
{
    const struct qimg_chain_image *data = image->data_file.image;
    xml_begin(&d->xml, "source");
    xml_attribute(&d->xml, image->file.is_device ? "dev" : "file", image->absolute);
    if (numbered)
        put_number(d);
    if (!data && !image->has_window) {
        xml_empty_end(&d->xml);
        return;
    }
    xml_open_end(&d->xml);
    if (image->has_window)
        put_slice(&d->xml, image->window);
    if (data)
        put_data_store(d, data); /* which has none of its own */
    xml_close(&d->xml, "source");
}

/* The number stands at the source of the top image, and of others at their <backingStore>. */
static int put_source(struct disk *d, const struct qimg_chain_image *image, bool numbered,
                      struct qimg_error *err)
{
    if (image->state != QIMG_CHAIN_REMOTE) {
        if (image->data_file.image)
            *d->needs_new = "<dataStore>";
        put_local(d, image, numbered);
        return 0;
    }
    struct remote remote;
    if (remote_read(image->name, &remote, err) < 0) {
        AUTO_FREE char *name = finding_show(image->name);
        return qimg_within(err, "image %s", name ? name : "?");
    }
    if (strcmp(remote.protocol, "ssh") == 0)
        *d->needs_new = "protocol='ssh'";
    put_remote(d, &remote, numbered);
    remote_release(&remote);
    return 0;
}

/* --- the disk --------------------------------------------------------------------------------- */

static void begin_disk(struct xml *xml, const struct qimg_chain_image *top)
{
    xml_begin(xml, "disk");
    xml_attribute(xml, "type", type_of(top));
    xml_attribute(xml, "device", "disk");
    xml_open_end(xml);
    xml_begin(xml, "driver");
    xml_attribute(xml, "name", "qemu");
    xml_attribute(xml, "type", top->format);
    xml_empty_end(xml);
}

static void begin_backing(struct disk *d, const struct qimg_chain_image *image)
{
    xml_begin(&d->xml, "backingStore");
    xml_attribute(&d->xml, "type", type_of(image));
    put_number(d);
    xml_open_end(&d->xml);
    put_one(&d->xml, "format", "type", image->format);
}

static void end_disk(struct xml *xml, const struct qimg_libvirt_options *options)
{
    xml_begin(xml, "target");
    xml_attribute(xml, "dev", options->target ? options->target : "vda");
    xml_attribute(xml, "bus", options->bus ? options->bus : "virtio");
    xml_empty_end(xml);
    xml_close(xml, "disk");
}

static int put_chain(struct disk *d, const struct qimg_chain *chain, size_t count,
                     struct qimg_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (i == 0)
            begin_disk(&d->xml, chain->images[i]);
        else
            begin_backing(d, chain->images[i]);
        TRY(put_source(d, chain->images[i], i == 0, err));
    }
    if (count == chain->count && chain->end == QIMG_CHAIN_COMPLETE) {
        xml_begin(&d->xml, "backingStore");
        xml_empty_end(&d->xml);
    }
    for (size_t i = 1; i < count; i++)
        xml_close(&d->xml, "backingStore");
    return 0;
}

/* The least that libvirt's schema takes for a domain. */
static void begin_domain(struct xml *xml)
{
    str_puts(&xml->text, "<domain type='qemu'>\n"
                         "  <name>disk</name>\n"
                         "  <memory unit='KiB'>1048576</memory>\n"
                         "  <os>\n"
                         "    <type>hvm</type>\n"
                         "  </os>\n"
                         "  <devices>\n");
    xml->depth = 2;
}

static void end_domain(struct xml *xml)
{
    xml_close(xml, "devices");
    xml_close(xml, "domain");
}

int qimg_chain_libvirt(const struct qimg_chain *chain, const struct qimg_libvirt_options *options,
                       char **out, const char **needs_new, struct qimg_error *err)
{
    struct disk d = { .needs_new = needs_new, .numbered = options->numbered };
    size_t count = 0;
    *needs_new = NULL;
    TRY(count_certain(chain, options->partial, &count, err));
    if (options->domain)
        begin_domain(&d.xml);
    const int rc = put_chain(&d, chain, count, err);
    if (rc == 0)
        end_disk(&d.xml, options);
    if (rc == 0 && options->domain)
        end_domain(&d.xml);
    AUTO_FREE char *text = str_take(&d.xml.text);
    if (rc < 0)
        return rc;
    if (d.xml.unfit)
        return qimg_fail(err, EINVAL, "a name of the chain holds bytes that XML cannot hold");
    if (!text)
        return qimg_fail_memory(err);
    *out = TAKE(text);
    return 0;
}
