/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text as a fixture specification. What is accepted, and small, is planned and built in memory;
 * an image that was not edited checks clean but for the leaks that its author ordered.
 */
#include <string.h>

#include "fixture_build.h"
#include "machine.h"
#include "text_input.h"

#define MAX_SIZE    (1024 * 1024u)
#define MAX_CONTENT 64
#define MAX_IMAGES  4

static bool is_small(const struct qimg_fixture *f)
{
    if (f->images.count > MAX_IMAGES || f->content_count > MAX_CONTENT)
        return false;
    for (size_t i = 0; i < f->images.count; i++) {
        const struct image_spec *s = &f->images.items[i];
        if (s->create.size > MAX_SIZE || s->leaks > 256 || s->bitmaps.count > 8)
            return false;
        if (s->qcow2 && s->create.cluster_size > 65536)
            return false;
        for (size_t k = 0; k < s->edits.count; k++)
            if (s->edits.items[k].kind == EDIT_TRUNCATE)
                return false;
    }
    return true;
}

static void expect_sound(struct io_engine *engine, const struct image_spec *spec)
{
    struct qimg_context *context = sim_context_new(engine, NULL);
    const struct qimg_check_result r = machine_check(context);

    require(r.corruptions == 0 && r.check_errors == 0 && r.leaks == spec->leaks);
    qimg_context_free(context);
}

static struct io_file *open_new(struct io_engine *engine, const char *name)
{
    const struct io_open_options how = { .writable = true, .create = true };
    struct io_file *file;

    require(io_file_open(engine, name, &how, &file) == 0);
    return file;
}

static void build(const struct image_plan *plan)
{
    struct io_engine *engine = machine_new();
    struct built_extent_vec extents = { 0 };
    struct qimg_error err;
    struct io_file *disk = open_new(engine, "disk");
    struct io_file *data = plan->spec->data_path ? open_new(engine, "data") : NULL;
    const int rc = plan->spec->qcow2 ? qcow2_build(plan, disk, data, &extents, &err)
                                     : raw_build(plan, disk, &err);

    require(rc == 0 || err.text[0] != '\0');
    built_extent_vec_release(&extents);
    io_file_close(disk);
    io_file_close(data);
    if (rc == 0 && plan->spec->qcow2 && plan->spec->edits.count == 0 && !data &&
        !plan->spec->incompatible && plan->spec->extensions.count == 0)
        expect_sound(engine, plan->spec);
    else
        io_engine_free(engine);
}

static void plan_and_build(const struct qimg_fixture *fixture)
{
    struct fixture_plan plan = { 0 };
    struct qimg_error err;

    if (fixture_plan_make(fixture, &plan, &err) == 0) {
        for (size_t i = 0; i < fixture->images.count; i++)
            if (!plan.images[i].spec->absent)
                build(&plan.images[i]);
    } else {
        require(err.text[0] != '\0');
    }
    fixture_plan_release(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct qimg_fixture *fixture = NULL;
    struct qimg_error err;

    if (memmem(data, len, "\"path\"", 6))
        return 0; /* content from real files */
    if (qimg_fixture_parse((const char *)data, len, "/nonexistent", &fixture, &err) < 0) {
        require(err.code != 0 && err.text[0] != '\0');
        return 0;
    }
    if (is_small(fixture))
        plan_and_build(fixture);
    qimg_fixture_free(fixture);
    return 0;
}

static const char *const words[] = {
    "\"fixture\":1,",
    "\"images\":[",
    "{\"file\":\"a\",\"size\":65536}",
    "\"options\":{",
    "\"cluster_size\":512",
    "\"compat\":\"0.10\"",
    "\"extended_l2\":true",
    "\"data_file\":\"d\"",
    "\"refcount_bits\":1",
    "\"preallocation\":\"metadata\"",
    "\"content\":[",
    "{\"at\":0,\"length\":512,\"pattern\":\"counter\"}",
    "{\"at\":4096,\"pattern\":\"zero\",\"allocated\":true}",
    "\"pattern\":\"random\",\"seed\":7",
    "\"compressed\":true",
    "\"repeat\":3,\"stride\":4096",
    "\"snapshots\":[{\"name\":\"s\"}]",
    "\"bitmaps\":[{\"name\":\"b\"}]",
    "\"header\":{\"incompatible\":[40]}",
    "\"leaks\":3",
    "\"corrupt\":[",
    "{\"l2_entry\":0,\"set\":{\"header\":true}}",
    "{\"refcount\":{\"cluster\":1},\"add\":-1}",
    "{\"header\":\"l1_size\",\"set\":\"0xffffffffffffffff\"}",
    "{\"truncate\":{\"data\":0}}",
    "\"expect\":{\"check\":\"fails\"}",
    "\"backing\":\"a\"",
    "\"backing\":{\"file\":\"a\",\"recorded\":\"x\",\"format\":null}",
    "\"absent\":true",
    "\"16E\"",
    "-1",
    "1e9",
    ",",
    "]",
    "}",
    "{",
    "[",
    "\"",
    NULL
};

uint8_t *fuzz_seed(unsigned index, size_t *len)
{
    static const char *const seeds[] = {
        "{\"fixture\":1,\"images\":[{\"file\":\"a\",\"size\":65536,"
        "\"options\":{\"cluster_size\":512},"
        "\"content\":[{\"at\":100,\"length\":3000,\"pattern\":\"counter\"},"
        "{\"at\":8192,\"length\":512,\"pattern\":\"byte\",\"value\":7,\"compressed\":true,"
        "\"repeat\":3,\"stride\":4096}],\"leaks\":2}]}",
        "{\"fixture\":1,\"images\":[{\"file\":\"b\",\"format\":\"raw\",\"size\":4096,"
        "\"content\":[{\"at\":0,\"pattern\":\"random\",\"seed\":7}]},"
        "{\"file\":\"a\",\"backing\":\"b\",\"options\":{\"cluster_size\":1024},"
        "\"snapshots\":[{\"name\":\"s\","
        "\"content\":[{\"at\":0,\"length\":512,\"pattern\":\"text\",\"text\":\"t\"}]}],"
        "\"bitmaps\":[{\"name\":\"m\",\"dirty\":[{\"at\":0,\"length\":512}]}],"
        "\"corrupt\":[{\"l2_entry\":0,\"set\":{\"l1_table\":true},"
        "\"flags\":\"0x8000000000000000\"}],"
        "\"expect\":{\"check\":{\"corruptions\":1}}}]}",
        "{\"fixture\":1,\"images\":[{\"file\":\"x\",\"size\":65536,"
        "\"options\":{\"extended_l2\":true,"
        "\"cluster_size\":16384,\"refcount_bits\":1,\"compression_type\":\"zstd\"},"
        "\"content\":[{\"at\":512,\"length\":512,\"pattern\":\"zero\",\"allocated\":true}],"
        "\"header\":{\"compatible\":[5],\"extensions\":[{\"type\":4660,\"hex\":\"0102\"}]}}]}",
    };

    if (index >= sizeof(seeds) / sizeof(seeds[0]))
        return NULL;
    uint8_t *seed = (uint8_t *)strdup(seeds[index]);
    require(seed != NULL);
    *len = strlen(seeds[index]);
    return seed;
}

size_t fuzz_mutate(uint8_t *data, size_t len, size_t max, uint64_t seed)
{
    return text_mutate(words, data, len, max, seed);
}
