# SPDX-License-Identifier: Apache-2.0
# What the build is made of, as SPDX 2.3: qimg.spdx.json, installed beside the documents. Versions
# are those that were found; where dpkg knows the files that are linked, their packages are named.
# tests/cli/test_sbom.py holds the list against what the built files ask the loader for.

# name, version, SPDX licence, what the tool links, what the library links
file(STRINGS ${CMAKE_SYSROOT}/usr/include/features.h glibc REGEX "define.__GLIBC_MINOR__")
string(REGEX REPLACE "[^0-9]*([0-9]+).*" "2.\\1" glibc "${glibc}")
execute_process(COMMAND ${CMAKE_C_COMPILER} --print-file-name=libc.so.6
                OUTPUT_VARIABLE libc OUTPUT_STRIP_TRAILING_WHITESPACE)
set(uring_licence "LGPL-2.1-or-later OR MIT")
set(components
    "zlib|${ZLIB_VERSION_STRING}|Zlib|${QIMG_ARCHIVE_z}|${ZLIB_LIBRARIES}"
    "zstd|${ZSTD_VERSION}|BSD-3-Clause OR GPL-2.0-only|${QIMG_ARCHIVE_zstd}|${ZSTD_LINK_LIBRARIES}"
    "liburing|${URING_VERSION}|${uring_licence}|${QIMG_ARCHIVE_uring}|${URING_LINK_LIBRARIES}"
    "jansson|${JANSSON_VERSION}|MIT|${QIMG_ARCHIVE_jansson}|${JANSSON_LINK_LIBRARIES}"
    "openssl|${CRYPTO_VERSION}|Apache-2.0|${QIMG_ARCHIVE_crypto}|${CRYPTO_LINK_LIBRARIES}"
    "glibc|${glibc}|LGPL-2.1-or-later|NONE|${libc}")

set(spdx_package [[
    { "SPDXID": "SPDXRef-@name@", "name": "@name@", "versionInfo": "@version@",
      "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "copyrightText": "NOASSERTION",
      "licenseConcluded": "@licence@", "licenseDeclared": "@licence@",
      "externalRefs": [@purls@] }]])
set(spdx_purl [[

        { "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
          "referenceLocator": "pkg:deb/@distribution@/@package@" }]])
set(spdx_relation [[
    { "spdxElementId": "SPDXRef-@from@", "relationshipType": "@type@",
      "relatedSpdxElement": "SPDXRef-@to@" }]])

cmake_host_system_information(RESULT distribution QUERY DISTRIB_ID)
find_program(QIMG_DPKG_QUERY dpkg-query)
mark_as_advanced(QIMG_DPKG_QUERY)

# A reference to the package of a linked file, or nothing.
function(spdx_purl_of file out)
    set(${out} "" PARENT_SCOPE)
    if(NOT QIMG_DPKG_QUERY OR CMAKE_CROSSCOMPILING OR NOT EXISTS ${file})
        return()
    endif()
    file(REAL_PATH ${file} real)
    string(REGEX REPLACE "^/usr/lib" "/lib" unmerged ${real})
    execute_process(COMMAND ${QIMG_DPKG_QUERY} --search ${real} ${unmerged}
                    OUTPUT_VARIABLE owner ERROR_QUIET)
    if(NOT owner MATCHES "^([^ ]+): ")
        return()
    endif()
    execute_process(COMMAND ${QIMG_DPKG_QUERY} --show
                            "--showformat=\${Package}@\${Version}?arch=\${Architecture}"
                            ${CMAKE_MATCH_1} OUTPUT_VARIABLE package)
    string(REPLACE "+" "%2B" package "${package}")
    string(CONFIGURE "${spdx_purl}" purl @ONLY)
    set(${out} "${purl}" PARENT_SCOPE)
endfunction()

function(spdx_add_package name version licence)
    set(purls "")
    foreach(file ${ARGN})
        spdx_purl_of(${file} purl)
        list(APPEND purls ${purl})
    endforeach()
    list(JOIN purls "," purls)
    string(CONFIGURE "${spdx_package}" json @ONLY)
    set_property(GLOBAL APPEND PROPERTY spdx_packages "${json}")
endfunction()

function(spdx_add_relation from type to)
    string(CONFIGURE "${spdx_relation}" json @ONLY)
    set_property(GLOBAL APPEND PROPERTY spdx_relations "${json}")
endfunction()

foreach(own qimg libqimg)
    spdx_add_package(${own} ${PROJECT_VERSION} Apache-2.0)
    spdx_add_relation(DOCUMENT DESCRIBES ${own})
endforeach()
foreach(component ${components})
    string(REPLACE "|" ";" component "${component}")
    list(POP_FRONT component name version licence archive shared)
    set(how STATIC_LINK)
    set(files ${archive} ${shared})
    if(NOT QIMG_TOOL_ARCHIVES OR NOT EXISTS ${archive})
        set(how DYNAMIC_LINK)
        set(files ${shared})
    endif()
    spdx_add_package(${name} ${version} "${licence}" ${files})
    spdx_add_relation(qimg ${how} ${name})
    spdx_add_relation(libqimg DYNAMIC_LINK ${name})
endforeach()
if(QIMG_ISAL) # loaded when it is needed, and done without where it is not there
    spdx_add_package(isa-l ${ISAL_VERSION} BSD-3-Clause ${ISAL_LINK_LIBRARIES})
    spdx_add_relation(isa-l OPTIONAL_DEPENDENCY_OF qimg)
    spdx_add_relation(isa-l OPTIONAL_DEPENDENCY_OF libqimg)
endif()

# The same source and packages give the same document: its time is that of the source, its name a
# hash of what it says.
set(spdx_created 1970-01-01T00:00:00Z)
if(DEFINED ENV{SOURCE_DATE_EPOCH})
    string(TIMESTAMP spdx_created "%Y-%m-%dT%H:%M:%SZ" UTC)
endif()
get_property(spdx_packages GLOBAL PROPERTY spdx_packages)
get_property(spdx_relations GLOBAL PROPERTY spdx_relations)
list(JOIN spdx_packages ",\n" spdx_packages)
list(JOIN spdx_relations ",\n" spdx_relations)
string(SHA256 spdx_id "${spdx_packages}${spdx_relations}")
configure_file(cmake/qimg.spdx.json.in qimg.spdx.json @ONLY)
