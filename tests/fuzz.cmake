# SPDX-License-Identifier: Apache-2.0
# Fuzzers: with QIMG_FUZZ libFuzzer drives them, else a plain driver runs the seeds as a test.
file(GLOB fuzz_sources CONFIGURE_DEPENDS fuzz/fuzz_*.c)
foreach(source ${fuzz_sources})
    get_filename_component(name ${source} NAME_WE)
    if(QIMG_FUZZ)
        qimg_test_program(${name} ${source})
        target_link_options(${name} PRIVATE -fsanitize=fuzzer,address,undefined)
    else()
        qimg_test_program(${name} ${source} fuzz/driver.c)
        file(GLOB seeds CONFIGURE_DEPENDS fuzz/seeds/${name}/*)
        add_test(NAME ${name} COMMAND ${name} ${seeds})
        set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 120
                             FAIL_REGULAR_EXPRESSION "${sanitizer_reports}")
    endif()
endforeach()
