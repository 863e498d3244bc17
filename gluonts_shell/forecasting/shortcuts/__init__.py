"""What GluonTS does at length where less gives the same forecast. Taking a shortcut changes no value.

patches     puts each in the place of GluonTS's function where that is known; the constructor of forecasts, whose
            pydantic model takes a third of a forecast by seasonal naive
deepar      the sample paths of DeepAR
generators  forecasts that are distributions, for a whole batch at once
compiler    Lightning without torch's compiler, which no forecast uses
"""
