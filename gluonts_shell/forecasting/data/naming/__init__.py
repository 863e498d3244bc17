"""What users have names for, and models have numbers for.

labels   categories that are text -> numbers
order    covariates by name -> the rows of dynamic features, in the order that training saw
"""
