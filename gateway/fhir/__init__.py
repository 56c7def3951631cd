"""FHIR R4 (4.0.1) as a view of the store: what is kept, as resources.

Source: HL7 FHIR R4; Personal Health Device Implementation Guide 1.1.0 (STU 1.1).
"""
