#include "reports/record.hpp"
