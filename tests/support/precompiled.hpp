#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scripts/cmake/precompiled.hpp"
