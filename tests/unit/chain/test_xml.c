/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "xml.h"

Test(xml, is_laid_out_as_libvirt_does)
{
    struct xml xml = { 0 };
    xml_begin(&xml, "a");
    xml_attribute(&xml, "b", "<'\"&>");
    xml_attribute(&xml, "c", NULL);
    xml_open_end(&xml);
    xml_begin(&xml, "d");
    xml_empty_end(&xml);
    xml_close(&xml, "a");
    char *text = str_take(&xml.text);
    cr_expect_str_eq(text, "<a b='&lt;&apos;&quot;&amp;&gt;'>\n  <d/>\n</a>\n");
    cr_expect(!xml.unfit);
    free(text);
}

Test(xml, refuses_what_xml_cannot_hold)
{
    static const struct {
        const char *value;
        bool unfit;
    } cases[] = {
        { "plain", false },
        { "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", false },
        { "a\x01", true },
        { "a\nb", true }, /* an attribute would come back with a space */
        { "\xff", true },
        { "\xc3", true },         /* cut */
        { "\xc0\xaf", true },     /* overlong */
        { "\xed\xa0\x80", true }, /* a surrogate */
        { "\xef\xbf\xbf", true }, /* not a character */
        { "\xf4\x90\x80\x80", true },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct xml xml = { 0 };
        xml_begin(&xml, "a");
        xml_attribute(&xml, "b", cases[i].value);
        cr_expect_eq(xml.unfit, cases[i].unfit, "%zu", i);
        str_release(&xml.text);
    }
}
