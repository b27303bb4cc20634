/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of signatures, and the search: one read of the head, and one of each place beyond it.
 */
#include "signature.h"

#include <string.h>

#define HEAD_BYTES 4096 /* holds all signatures but those far in, or at the end */

#define IMAGE(format, at, bytes) \
    { \
        format, true, at, sizeof(bytes) - 1, bytes \
    }
#define WITHIN(format, at, bytes) \
    { \
        format, false, at, sizeof(bytes) - 1, bytes \
    }

const struct signature signatures[] = {
    IMAGE("qcow2", 0, "QFI\xfb\0\0\0\2"),
    IMAGE("qcow2", 0, "QFI\xfb\0\0\0\3"),
    IMAGE("qcow", 0, "QFI\xfb\0\0\0\1"),
    IMAGE("qcow2", 0, "QFI\xfb"), /* of a version that nobody knows */
    IMAGE("qed", 0, "QED\0"),
    IMAGE("vmdk", 0, "KDMV"),
    IMAGE("vmdk", 0, "COWD"),
    IMAGE("vmdk", 0, "# Disk DescriptorFile"),
    IMAGE("vhdx", 0, "vhdxfile"),
    IMAGE("vpc", 0, "conectix"),
    IMAGE("vpc", -512, "conectix"),
    IMAGE("vpc", -511, "conectix"), /* some writers' footers have 511 bytes */
    IMAGE("vdi", 64, "\x7f\x10\xda\xbe"),
    IMAGE("parallels", 0, "WithoutFreeSpace"),
    IMAGE("parallels", 0, "WithouFreSpacExt"),
    IMAGE("luks", 0, "LUKS\xba\xbe"),
    IMAGE("dmg", -512, "koly"),
    IMAGE("bochs", 0, "Bochs Virtual HD Image"),
    IMAGE("cloop", 0, "#!/bin/sh\n#V2.0 Format\n"),
    WITHIN("gpt", 512, "EFI PART"),
    WITHIN("gpt", 4096, "EFI PART"),
    WITHIN("mbr", 510, "\x55\xaa"),
    WITHIN("iso9660", 32769, "CD001"),
    { NULL, false, 0, 0, NULL },
};

/* Does the file bear @s? Looks into @head where that reaches. 1, 0, or a negative errno. */
static int bears(struct io_file *file, uint64_t size, const uint8_t head[static HEAD_BYTES],
                 const struct signature *s)
{
    uint8_t there[64];
    const uint64_t back = s->at < 0 ? (uint64_t)-s->at : 0;
    if (s->at < 0 && back > size)
        return 0;
    const uint64_t at = s->at < 0 ? size - back : (uint64_t)s->at;
    if (at > size || size - at < s->len)
        return 0;
    if (at + s->len <= HEAD_BYTES)
        return memcmp(head + at, s->bytes, s->len) == 0;
    const int rc = io_read_exact(file, at, there, s->len, NULL);
    return rc < 0 ? rc : memcmp(there, s->bytes, s->len) == 0;
}

/* Does @s tell nothing new: the same format, or only the beginning of a longer one's bytes? */
static bool is_known(const struct signature *const *found, size_t count, const struct signature *s)
{
    for (size_t i = 0; i < count; i++) {
        const struct signature *f = found[i];
        if (strcmp(f->format, s->format) == 0)
            return true;
        if (f->at == s->at && f->len > s->len && memcmp(f->bytes, s->bytes, s->len) == 0)
            return true;
    }
    return false;
}

/* As signature_find(), up to the first @room only where @images_only. */
static int search(struct io_file *file, const struct signature **found, size_t room,
                  bool images_only)
{
    uint8_t head[HEAD_BYTES];
    struct io_stat st;
    size_t count = 0;
    TRY(io_stat(file, &st));
    TRY(io_read_exact(file, 0, head, sizeof(head), NULL));
    for (const struct signature *s = signatures; s->format; s++) {
        if (images_only && (!s->of_image || count == room))
            break;
        const int rc = bears(file, st.size, head, s);
        if (rc < 0)
            return rc;
        if (rc == 0 || is_known(found, count < room ? count : room, s))
            continue;
        if (count < room)
            found[count] = s;
        count++;
    }
    return (int)count;
}

int signature_find(struct io_file *file, const struct signature **found, size_t room)
{
    return search(file, found, room, false);
}

const char *signature_at_start(const uint8_t *head, size_t len)
{
    for (const struct signature *s = signatures; s->format && s->of_image; s++)
        if (s->at >= 0 && (uint64_t)s->at + s->len <= len &&
            memcmp(head + s->at, s->bytes, s->len) == 0)
            return s->format;
    return NULL;
}

int signature_of_image(struct io_file *file, const char **format)
{
    const struct signature *first = NULL;
    const int count = search(file, &first, 1, true);
    if (count < 0)
        return count;
    *format = count > 0 ? first->format : NULL;
    return 0;
}
