# SPDX-License-Identifier: Apache-2.0
# Fuzzers: with QIMG_FUZZ libFuzzer drives them, else a plain driver runs seeds, old findings and a
# few changes of them as a test.
file(GLOB fuzz_sources CONFIGURE_DEPENDS fuzz/fuzz_*.c)
add_library(fuzz_shared OBJECT fuzz/image_input.c fuzz/text_input.c fuzz/machine.c
    fuzz/no_mutation.c)
target_include_directories(fuzz_shared PRIVATE ${PROJECT_SOURCE_DIR}/include)
qimg_quote_includes(fuzz_shared ${test_includes})
target_compile_definitions(fuzz_shared PRIVATE _GNU_SOURCE QIMG_BUILDING)
target_link_libraries(fuzz_shared PRIVATE ${test_libs})

foreach(source ${fuzz_sources})
    get_filename_component(name ${source} NAME_WE)
    set(parts ${source} $<TARGET_OBJECTS:fuzz_shared>)
    if(name MATCHES "^fuzz_(bitmaps|snapshots)$")
        list(APPEND parts fuzz/change.c)
    endif()
    if(QIMG_FUZZ)
        qimg_test_program(${name} ${parts} fuzz/libfuzzer.c)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer,address,undefined)
    else()
        qimg_test_program(${name} ${parts} fuzz/driver.c)
        file(GLOB findings CONFIGURE_DEPENDS fuzz/findings/${name}/*)
        add_test(NAME ${name} COMMAND ${name} ${findings})
        set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 120
                             FAIL_REGULAR_EXPRESSION "${sanitizer_reports}")
    endif()
endforeach()
