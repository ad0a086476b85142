"""When things happen by themselves: schedules, sensors, conditions and alerts. All but alerts wait to be turned on."""
